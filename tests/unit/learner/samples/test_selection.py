import pytest
from unit.learner.samples.samples_builders import a_group, write_journal

from tetrad_learner.samples.selection import SelectionError, select
from tetrad_trajectories.errors import CorruptJournalError
from tetrad_trajectories.journal import step_path


@pytest.fixture
def journal(tmp_path):
    """Five steps of three groups of two samples of four tokens."""
    steps = {step: [one for draw in range(3) for one in a_group(10 * step + draw)] for step in range(1, 6)}
    return write_journal(tmp_path / "journal", steps)


def shown(selection) -> dict[int, list[int]]:
    return {step.step: [group[0].draw for group in step.groups] for step in selection.steps}


def test_the_newest_steps_are_shown_and_the_others_are_named(journal) -> None:
    selection = select(journal, steps=None, limit=12)

    assert shown(selection) == {4: [40, 41, 42], 5: [50, 51, 52]}
    assert selection.left_out == ("left out: steps 1 to 3; show some with --step N, or more with --limit N",)


def test_a_step_that_does_not_fit_is_cut_between_groups_and_counted(journal) -> None:
    selection = select(journal, steps=None, limit=11)

    assert shown(selection) == {4: [40, 41], 5: [50, 51, 52]}
    assert selection.left_out[0] == "left out: 2 of 6 samples of step 4"
    assert selection.num_samples == 10


def test_steps_that_are_asked_for_are_shown_in_order_each_once(journal) -> None:
    selection = select(journal, steps=[5, 1, 5], limit=100)

    assert list(shown(selection)) == [1, 5]
    assert selection.left_out == ()


def test_tokens_are_bounded_as_well(journal) -> None:
    selection = select(journal, steps=[1], limit=100, max_tokens=17)

    assert shown(selection) == {1: [10, 11]}


@pytest.mark.parametrize("bounds", [{"limit": 1}, {"limit": 100, "max_tokens": 3}])
def test_something_is_shown_even_of_a_group_beyond_the_bounds(journal, bounds) -> None:
    selection = select(journal, steps=[2], **bounds)

    assert shown(selection) == {2: [20]}
    assert "of 6 samples of step 2" in selection.left_out[0]


def test_a_step_that_is_not_there_is_refused_with_those_that_are(journal) -> None:
    with pytest.raises(SelectionError, match="step 9 is not in the journal, which holds steps 1 to 5"):
        select(journal, steps=[9], limit=10)


def test_an_empty_journal_is_refused(tmp_path) -> None:
    with pytest.raises(SelectionError, match="no step was sealed yet"):
        select(write_journal(tmp_path, {}), steps=None, limit=10)


def test_a_damaged_step_is_refused(journal) -> None:
    path = step_path(journal, 5)
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(CorruptJournalError):
        select(journal, steps=None, limit=10)
