"""Metrics with a bad name, label or bucket cannot be made."""

from enum import StrEnum

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tetrad_telemetry.labels import Capped, closed
from tetrad_telemetry.metrics import Metrics
from tetrad_telemetry.names import MetricKind, metric_name


class Outcome(StrEnum):
    OK = "ok"
    STALE = "stale"


@pytest.fixture
def metrics():
    return Metrics("rollout", version="1.2.3", commit="abc")


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def samples(metrics, name):
    return {
        tuple(sorted(s.labels.values())): s.value
        for f in families(metrics).values()
        for s in f.samples
        if s.name == name
    }


def test_every_metric_is_named_after_project_and_service(metrics):
    metrics.counter("generated_tokens_total", "Tokens.").inc(3)

    assert samples(metrics, "tetrad_rollout_generated_tokens_total") == {(): 3.0}


def test_a_scope_other_than_the_service_can_be_named(metrics):
    metrics.counter("messages_total", "Messages.", scope="zmq").inc()

    assert samples(metrics, "tetrad_zmq_messages_total") == {(): 1.0}


def test_every_process_says_what_it_is_and_has_the_common_metrics(metrics):
    assert samples(metrics, "tetrad_build_info") == {("1.2.3", "abc", "rollout"): 1.0}
    assert {"tetrad_service_ready", "tetrad_event_loop_lag_seconds"} <= families(metrics).keys()
    assert "process_resident_memory_bytes" in families(metrics)


def test_there_are_no_created_series(metrics):
    metrics.counter("groups_total", "Groups.").inc()

    assert b"_created" not in metrics.render()


def test_every_combination_of_a_closed_set_exists_from_the_start(metrics):
    metrics.counters("groups_total", "Groups.", labels={"outcome": closed(Outcome)})

    assert samples(metrics, "tetrad_rollout_groups_total") == {("ok",): 0.0, ("stale",): 0.0}


def test_a_label_value_outside_the_closed_set_is_refused(metrics):
    groups = metrics.counters("groups_total", "Groups.", labels={"outcome": closed(Outcome)})

    with pytest.raises(ValueError, match="'lost' is not one of ok, stale"):
        groups.with_labels(outcome="lost")


def test_missing_or_unknown_labels_are_refused(metrics):
    groups = metrics.counters("groups_total", "Groups.", labels={"outcome": closed(Outcome)})

    with pytest.raises(ValueError, match="labels are outcome; got reason"):
        groups.with_labels(reason="ok")


def test_a_capped_label_counts_what_is_beyond_its_limit_as_other(metrics):
    label = Capped(limit=2)
    scores = metrics.gauges("mean", "Mean.", labels={"reward_fn": label})

    for name in ("a", "b", "c", "a", "d"):
        scores.with_labels(reward_fn=name).inc()

    assert samples(metrics, "tetrad_rollout_mean") == {("a",): 2.0, ("b",): 1.0, ("other",): 2.0}
    assert label.overflowed == 2


def test_a_histogram_with_a_negative_bucket_is_refused(metrics):
    with pytest.raises(ValueError, match="negative bucket -1"):
        metrics.histogram("score", "Scores.", buckets=(-1.0, 0.0, 1.0))


@pytest.mark.parametrize("buckets", [(), (1.0, 0.5), (1.0, 1.0)])
def test_buckets_must_ascend(metrics, buckets):
    with pytest.raises(ValueError, match="must ascend"):
        metrics.histogram("score", "Scores.", buckets=buckets)


def test_a_histogram_keeps_its_sum(metrics):
    metrics.histogram("score", "Scores.", buckets=(0.0, 0.5, 1.0)).observe(0.75)

    assert samples(metrics, "tetrad_rollout_score_sum") == {(): 0.75}


@pytest.mark.parametrize(
    ("noun", "kind", "message"),
    [
        ("groups", MetricKind.COUNTER, "must end in _total"),
        ("queued_total", MetricKind.GAUGE, "must not end in _total"),
        ("latency_ms", MetricKind.GAUGE, "use the base unit _seconds"),
        ("moved_mb_total", MetricKind.COUNTER, "use the base unit _bytes"),
        ("usage_percent", MetricKind.GAUGE, "use the base unit _ratio"),
        ("group_count", MetricKind.GAUGE, "which Prometheus reserves"),
        ("latencySeconds", MetricKind.GAUGE, "not snake_case"),
        ("9_lives", MetricKind.GAUGE, ""),
    ],
)
def test_a_name_that_breaks_a_rule_is_refused_with_the_rule(noun, kind, message):
    if not message:
        assert metric_name("rollout", noun, kind=kind) == f"tetrad_rollout_{noun}"
        return
    with pytest.raises(ValueError, match=message):
        metric_name("rollout", noun, kind=kind)


def test_two_sets_of_metrics_do_not_meet():
    for _ in range(2):
        Metrics("reward", version="0").counter("samples_total", "Samples.")
