"""Dynamic sampling: which groups a step is trained on, and what becomes of the others."""

import pytest
from unit.learner.coordinator.core.core_harness import Harness

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.config import Sampling
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.core.sampling import dealt
from tetrad_learner.coordinator.core.tables import DropReason, SlotState
from tetrad_wire.ids import Draw
from tetrad_wire.messages.leases import Disposition, FailureKind, Lane
from tetrad_wire.messages.membership import RunState

FLAT = (1.0, 1.0)
GOOD = (1.0, 0.0)


def a_run(sampling: Sampling, **config) -> Harness:
    run = Harness(sampling=sampling, **config)
    run.begin()
    run.certify(credit=64)
    return run


def reasons(run: Harness) -> dict[int, str]:
    return {draw: group.reason for draw, group in run.image.groups.items() if group.reason}


# ---- filter


def test_a_flat_group_is_filtered_as_soon_as_it_is_complete() -> None:
    run = a_run(Sampling.FILTER)

    run.sample(0, 0, reward=1.0)
    assert reasons(run) == {}
    run.sample(0, 1, reward=1.0)

    assert reasons(run) == {0: DropReason.FILTERED}


def test_a_filtered_group_leaves_the_count_and_the_next_draw_is_leased_at_once() -> None:
    run = a_run(Sampling.FILTER)
    assert [grant.key.draw for grant in run.take(ef.Grant)] == [0, 1]

    run.grade(0, *FLAT)

    assert [grant.key.draw for grant in run.take(ef.Grant)] == [2]
    assert run.core.groups.num_open == 2


def test_the_batch_is_the_first_groups_whose_rewards_differ() -> None:
    run = a_run(Sampling.FILTER)

    for draw, rewards in enumerate((FLAT, GOOD, FLAT, FLAT, GOOD)):
        run.grade(draw, *rewards)

    (journal,) = run.take(ef.Journal)
    assert (journal.draws, journal.multiplicities) == ((1, 4), ())


def test_equal_rewards_are_equal_whatever_their_deviation_comes_to() -> None:
    """numpy.std([0.1] * 3) is 1.4e-17, and SkyRL would keep the group."""
    run = a_run(Sampling.FILTER, group_size=3)

    run.grade(0, 0.1, 0.1, 0.1)

    assert reasons(run) == {0: DropReason.FILTERED}


def test_rewards_that_differ_in_the_last_bit_differ() -> None:
    run = a_run(Sampling.FILTER)

    run.grade(0, 1.0, 1.0 + 2**-52)

    assert reasons(run) == {}


def test_a_late_sample_of_a_filtered_group_is_acknowledged_and_discarded() -> None:
    run = a_run(Sampling.FILTER)
    run.grade(0, *FLAT)

    assert run.sample(0, 1, reward=0.0) is Disposition.DUPLICATE
    assert reasons(run) == {0: DropReason.FILTERED}


def test_a_group_that_goes_on_without_a_sample_is_judged_by_the_others() -> None:
    run = a_run(Sampling.FILTER, group_size=3, min_group_size=2, max_data_attempts=1)
    run.sample(0, 0, reward=1.0)
    run.sample(0, 1, reward=1.0)
    token = next(token for token, lease in run.image.leases.items() if lease.draw == 0)

    run.give_back(token, FailureKind.DATA)

    assert reasons(run) == {0: DropReason.FILTERED}


def test_groups_of_one_are_never_flat() -> None:
    run = a_run(Sampling.FILTER, group_size=1)

    run.grade(0, 1.0)
    run.grade(1, 1.0)

    assert run.take(ef.Journal)[0].draws == (0, 1)


def test_filtered_groups_are_no_failures() -> None:
    run = a_run(Sampling.FILTER, max_drops_per_step=2)

    for draw in range(9):
        run.grade(draw, *FLAT)

    assert run.core.state is RunState.RUNNING


def test_the_last_step_is_filled_and_nothing_is_drawn_beyond_it() -> None:
    run = a_run(Sampling.FILTER, num_steps=1, max_staleness=2)
    run.take(ef.Grant)

    run.grade(0, *FLAT)
    assert [grant.key.draw for grant in run.take(ef.Grant)] == [2]
    run.grade(1, *GOOD)
    run.grade(2, *GOOD)
    run.journal()

    assert run.take(ef.Grant) == []
    assert run.image.cursor == 3


def test_with_staleness_the_groups_of_later_steps_move_up() -> None:
    run = a_run(Sampling.FILTER, max_staleness=1)
    assert [grant.key.draw for grant in run.take(ef.Grant)] == [0, 1, 2, 3]

    run.grade(0, *FLAT)
    run.grade(2, *GOOD)
    run.grade(1, *GOOD)

    assert run.take(ef.Journal)[0].draws == (1, 2)
    assert [grant.key.draw for grant in run.take(ef.Grant)] == [4]


def test_a_new_start_that_filters_looks_at_what_an_earlier_one_has_kept() -> None:
    run = a_run(Sampling.KEEP)
    run.grade(0, *FLAT)

    run.config = Harness(sampling=Sampling.FILTER).config
    run.restart()
    run.do(ev.Ticked)

    assert reasons(run) == {0: DropReason.FILTERED}


# ---- the bound


def test_the_bound_ends_the_run_with_its_name_and_what_was_seen() -> None:
    run = a_run(Sampling.FILTER, max_sample_batches=3)

    for draw in range(4):
        run.grade(draw, *FLAT)
    assert run.core.state is RunState.RUNNING  # 6 draws can still hold 2 good ones
    run.grade(4, *FLAT)

    assert run.core.state is RunState.FAILED
    assert "max_sample_batches=3 of 2 groups allows 4" in run.image.reason
    assert "step 1: 5 groups were filtered" in run.image.reason


def test_no_restart_draws_more_than_the_bound() -> None:
    run = a_run(Sampling.FILTER, max_sample_batches=2)

    for draw in range(3):
        run.restart()
        run.begin()
        run.certify(credit=64)
        run.grade(draw, *FLAT, version=draw + 2)

    assert run.core.state is RunState.FAILED


def test_every_step_has_the_whole_bound() -> None:
    run = a_run(Sampling.FILTER, max_sample_batches=2)
    run.grade(0, *FLAT)
    run.grade(1, *FLAT)
    run.grade(2, *GOOD)
    run.grade(3, *GOOD)
    run.journal()
    run.execute()
    run.publish("w1")
    run.certify(digest="w1")

    run.grade(4, *FLAT, version=2)
    run.grade(5, *FLAT, version=2)

    assert run.core.state is RunState.RUNNING


# ---- replace


def test_copies_of_the_good_groups_take_the_places_of_the_flat_ones() -> None:
    run = a_run(Sampling.REPLACE, batch_size=4)

    for draw, rewards in enumerate((FLAT, GOOD, FLAT, GOOD)):
        run.grade(draw, *rewards)

    (journal,) = run.take(ef.Journal)
    assert (journal.draws, journal.multiplicities) == ((1, 3), (2, 2))


def test_what_is_replaced_is_dropped_with_the_seal_and_not_before() -> None:
    run = a_run(Sampling.REPLACE)
    run.grade(0, *FLAT)
    run.grade(1, *GOOD)
    assert reasons(run) == {}

    run.journal()

    assert reasons(run) == {0: DropReason.REPLACED}
    assert run.image.groups[0].dropped_for == 1
    assert run.image.steps[1].multiplicities == (2,)
    assert [slot.state for slot in run.image.groups[1].slots] == [SlotState.SEALED] * 2


def test_a_coordinator_that_finds_no_seal_deals_the_same_places() -> None:
    run = a_run(Sampling.REPLACE, batch_size=3)
    for draw, rewards in enumerate((GOOD, FLAT, GOOD)):
        run.grade(draw, *rewards)
    (before,) = run.take(ef.Journal)

    run.restart()
    run.do(ev.Ticked)

    (after,) = run.take(ef.Journal)
    assert (before.draws, before.multiplicities) == (after.draws, after.multiplicities) == ((0, 2), (2, 1))


def test_a_batch_with_too_few_good_groups_is_drawn_anew_as_a_whole() -> None:
    run = a_run(Sampling.REPLACE, batch_size=4, min_replace_ratio=0.5)
    run.take(ef.Grant)

    for draw, rewards in enumerate((FLAT, GOOD, FLAT, FLAT)):
        run.grade(draw, *rewards)

    assert reasons(run) == dict.fromkeys(range(4), DropReason.FILTERED)
    assert run.take(ef.Journal) == []
    assert [grant.key.draw for grant in run.take(ef.Grant)] == [4, 5, 6, 7]


@pytest.mark.parametrize(("ratio", "num_good"), [(0.55, 11), (0.3, 6), (1.0, 20), (0.05, 1)])
def test_a_share_on_the_border_is_enough(ratio: float, num_good: int) -> None:
    run = a_run(Sampling.REPLACE, batch_size=20, min_replace_ratio=ratio)

    for draw in range(20):
        run.grade(draw, *(GOOD if draw < num_good else FLAT))

    assert len(run.take(ef.Journal)[0].draws) == num_good


def test_batches_that_are_drawn_anew_are_bounded_too() -> None:
    run = a_run(Sampling.REPLACE, max_sample_batches=2)
    run.grade(0, *FLAT)
    run.grade(1, *FLAT)
    assert run.core.state is RunState.RUNNING

    run.grade(2, *FLAT)
    run.grade(3, *FLAT)

    assert run.core.state is RunState.FAILED
    assert "dynamic sampling (replace) found no batch for step 1: 4 groups were filtered" in run.image.reason


def test_what_is_replaced_does_not_count_against_the_bound() -> None:
    run = a_run(Sampling.REPLACE, max_sample_batches=1)
    run.grade(0, *FLAT)
    run.grade(1, *GOOD)

    run.journal()

    assert run.core.state is RunState.RUNNING


def test_a_stop_while_the_batch_is_written_leaves_it_whole() -> None:
    run = a_run(Sampling.REPLACE)
    run.grade(0, *FLAT)
    run.grade(1, *GOOD)

    run.do(ev.StopAsked, reason="enough")
    run.journal()

    assert reasons(run) == {0: DropReason.REPLACED}
    assert run.image.steps[1].draws == (1,)


@pytest.mark.parametrize(("num_groups", "num_places"), [(1, 4), (3, 4), (3, 8), (4, 4)])
def test_places_are_dealt_evenly(num_groups: int, num_places: int) -> None:
    copies = dealt(num_groups, num_places=num_places)

    assert sum(copies) == num_places
    assert max(copies) - min(copies) <= 1
    assert min(copies) >= 1


# ---- evaluation


@pytest.mark.parametrize("sampling", [Sampling.FILTER, Sampling.REPLACE])
def test_evaluated_groups_are_not_chosen_by_their_rewards(sampling: Sampling) -> None:
    run = Harness(sampling=sampling, evaluation=(2,), is_evaluated_first=True)
    run.begin()
    run.certify(credit=64)

    for index in (0, 1):
        run.sample(GroupKey(Lane.EVAL, 0, Draw(0)), index, reward=1.0)

    assert [report.missing for report in run.take(ef.ReportEvaluation)] == [0]
    assert reasons(run) == {}
