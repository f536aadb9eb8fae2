"""What Prometheus sees of a step is what was trained on, once."""

from unit.learner.coordinator.journal_builders import a_journal_sample

from tetrad_learner.coordinator.step_metrics import StepMetrics, count_batch
from tetrad_telemetry.metrics import Metrics
from tetrad_trajectories.journal import places
from tetrad_wire.messages.leases import VersionSpan


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


def test_tokens_and_groups_of_a_batch_are_counted_with_their_copies():
    rewards = {0: (1.0, 0.0), 1: (1.0, 1.0)}
    samples = [
        a_journal_sample(draw, i, reward=reward, prompt_length=5, num_sampled=3)
        for draw, pair in rewards.items()
        for i, reward in enumerate(pair)
    ]

    batch = count_batch(places(samples, (2, 1)), step=1, step_of=lambda _version: 0)

    assert (batch.prompt_tokens, batch.response_tokens, batch.observation_tokens) == (30, 18, 0)
    assert (batch.used_groups, batch.flat_groups) == (2, 1)


def test_staleness_counts_from_the_oldest_weights_of_a_sample():
    older = (VersionSpan(version=4, length=1), VersionSpan(version=7, length=2))
    newer = (VersionSpan(version=7, length=3),)
    samples = [a_journal_sample(0, i, num_sampled=3, spans=spans) for i, spans in enumerate((older, newer))]

    batch = count_batch(places(samples), step=7, step_of={4: 3, 7: 6}.get)

    assert batch.lags == (3, 0)


def test_a_version_that_nobody_knows_has_no_lag():
    samples = [a_journal_sample(0, 0, num_sampled=3, spans=(VersionSpan(version=9, length=3),))]

    assert count_batch(places(samples), step=1, step_of=lambda _version: None).lags == ()


def test_figures_and_phases_of_a_step_are_shown():
    metrics = Metrics("learner", version="0")
    shown = StepMetrics(metrics)
    timings = {f"timing/{name}": 2.0 for name in ("generate", "journal", "train", "publish", "step")}

    shown.show({"policy/loss_metrics/clip_ratio": 0.25, "timing/optimizer": 0.5, "trainer/global_step": 7.0}, timings)

    assert value(metrics, "tetrad_learner_steps_total") == 1
    assert value(metrics, "tetrad_learner_step") == 7
    assert value(metrics, "tetrad_learner_clip_ratio") == 0.25
    assert value(metrics, "tetrad_learner_train_part_duration_seconds_sum", part="optimizer") == 0.5
    assert value(metrics, "tetrad_learner_phase_duration_seconds_count", phase="train") == 1
