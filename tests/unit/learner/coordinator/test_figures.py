import pytest
from unit.learner.coordinator.journal_builders import a_journal_sample

from tetrad_learner.coordinator.figures import Stopwatch, batch_figures, drawn_figures
from tetrad_learner.coordinator.store import DrawnSample
from tetrad_trajectories.journal import places
from tetrad_wire.messages.leases import FinishReason


def test_rewards_are_summed_up_per_sample_and_group() -> None:
    rewards = {0: (1.0, 0.0), 1: (0.0, 0.0), 2: (1.0, 1.0), 3: (-1.0, 0.0)}
    samples = [a_journal_sample(draw, i, reward=r) for draw, pair in rewards.items() for i, r in enumerate(pair)]

    figures = batch_figures(places(samples))

    assert figures["train/mean_reward"] == figures["reward/avg_raw_reward"] == 0.25
    assert figures["reward/mean_positive_reward"] == 0.375
    assert figures["reward/avg_pass_at_2"] == 0.5
    assert figures["reward/zero_variance_groups"] == 0.5


def test_lengths_count_sampled_tokens_only() -> None:
    samples = [a_journal_sample(0, 0, num_sampled=2, prompt_length=9), a_journal_sample(0, 1, num_sampled=6)]

    figures = batch_figures(places(samples))

    assert figures["generate/min_num_tokens"] == 2.0
    assert figures["generate/max_num_tokens"] == 6.0
    assert figures["generate/avg_num_tokens"] == 4.0
    assert figures["generate/std_num_tokens"] == 2.0


def test_a_sample_without_its_end_is_truncated() -> None:
    samples = [a_journal_sample(0, 0), a_journal_sample(0, 1, finish_reason=FinishReason.LENGTH)]

    assert batch_figures(places(samples))["generate/truncated"] == 0.5


def test_pass_at_names_the_size_of_the_largest_group() -> None:
    samples = [a_journal_sample(0, 0), a_journal_sample(1, 0), a_journal_sample(1, 1), a_journal_sample(1, 2)]

    assert "reward/avg_pass_at_3" in batch_figures(places(samples))


def test_copies_count_as_often_as_they_are_trained_on() -> None:
    samples = [a_journal_sample(draw, i, reward=float(draw == i == 0)) for draw in (0, 1) for i in (0, 1)]

    figures = batch_figures(places(samples, (3, 1)))

    assert figures["train/mean_reward"] == 3 / 8
    assert figures["reward/avg_pass_at_2"] == 3 / 4
    assert figures["reward/zero_variance_groups"] == 1 / 4


def drawn(draw: int, reason: str = "", *, num_tokens: int = 4, reward: float = 0.0) -> DrawnSample:
    return DrawnSample(draw, num_tokens, reward, is_trained=not reason, reason=reason)


def test_what_was_drawn_is_told_beside_what_is_trained() -> None:
    samples = [drawn(0, num_tokens=2, reward=1.0), drawn(1, num_tokens=2), drawn(2, "stale", num_tokens=8)]

    figures = drawn_figures(samples, batch_size=2)

    assert figures["generate/drawn_avg_num_tokens"] == 4.0
    assert (figures["generate/drawn_min_num_tokens"], figures["generate/drawn_max_num_tokens"]) == (2.0, 8.0)
    assert figures["reward/avg_drawn_reward"] == pytest.approx(1 / 3)
    assert (figures["sampling/batches"], figures["sampling/filtered"]) == (1.0, 0.0)


def test_filtered_and_replaced_groups_are_counted_in_batches_and_share() -> None:
    samples = [drawn(0), drawn(0), drawn(1, "filtered"), drawn(1, "filtered"), drawn(2, "replaced"), drawn(3)]

    figures = drawn_figures(samples, batch_size=2)

    assert (figures["sampling/batches"], figures["sampling/filtered"]) == (2.0, 0.5)


def test_a_stopwatch_tells_the_phases_of_a_step() -> None:
    watch = Stopwatch({"wanted": 1.0, "batched": 4.0, "sealed": 4.5, "executed": 7.0, "published": 7.25})

    phases = watch.phases()

    assert phases["timing/generate"] == 3.0
    assert phases["timing/train"] == 2.5
    assert phases["timing/step"] == pytest.approx(sum(phases.values()) - phases["timing/step"])


def test_a_missing_mark_gives_no_time() -> None:
    assert Stopwatch({"wanted": 1.0}).between("wanted", "batched") == 0.0
    assert Stopwatch().phases()["timing/step"] == 0.0


def test_a_repeated_mark_keeps_the_first() -> None:
    watch = Stopwatch({"wanted": 1.0})

    watch.mark("wanted")

    assert watch.marks["wanted"] == 1.0


def test_lengths_are_told_apart_by_reward_and_a_mean_of_nothing_is_none() -> None:
    mixed = [a_journal_sample(0, 0, num_sampled=2, reward=0.0), a_journal_sample(0, 1, num_sampled=6, reward=1.0)]

    figures = batch_figures(places(mixed))

    assert figures["generate/avg_tokens_zero_rewards"] == 2.0
    assert figures["generate/avg_tokens_non_zero_rewards"] == 6.0
    assert "generate/avg_tokens_non_zero_rewards" not in batch_figures(places(mixed[:1]))


def test_what_environments_measure_is_averaged_over_the_samples_that_have_it() -> None:
    samples = [
        a_journal_sample(0, 0, metrics={"format": 1.0, "tool_calls": 3.0}),
        a_journal_sample(0, 1, metrics={"format": 0.0}),
    ]

    figures = batch_figures(places(samples))

    assert figures["environment/format"] == 0.5
    assert figures["environment/tool_calls"] == 3.0


def test_names_of_environments_are_capped_and_the_rest_is_counted() -> None:
    figures = batch_figures(places([a_journal_sample(0, 0, metrics={f"m{n:03}": 1.0 for n in range(70)})]))

    names = [name for name in figures if name.startswith("environment/m")]
    assert len(names) == 64
    assert figures["environment/num_dropped_names"] == 6.0


def test_what_a_step_took_while_the_former_one_was_trained_counts_there() -> None:
    # Its batch was whole and sealed before the former step was published.
    watch = Stopwatch({"batched": 1.0, "sealed": 2.0, "wanted": 5.0, "executed": 9.0, "published": 10.0})

    phases = watch.phases()

    assert phases.pop("timing/step") == 5.0 == sum(phases.values())
    assert (phases["timing/generate"], phases["timing/journal"], phases["timing/train"]) == (0.0, 0.0, 4.0)
