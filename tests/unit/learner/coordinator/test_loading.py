"""From which checkpoint ranks begin: the newest that is whole and that the run can go on from."""

from pathlib import Path

import pytest
from unit.learner.coordinator.journal_builders import a_journal_sample, a_journal_step

from tetrad_learner.coordinator.checkpoints import Checkpoints
from tetrad_learner.coordinator.loading import MAX_LOADS, Loading, Start
from tetrad_trajectories.errors import CheckpointError
from tetrad_trajectories.journal import step_path, write_step

WEIGHTS = "model.safetensors"


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    """Checkpoints of steps 2 and 4, journals of steps 3 to 6."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", max_kept=-1)
    for step in (2, 4):
        write(checkpoints, step)
    journal = tmp_path / "journal"
    journal.mkdir()
    for step in range(3, 7):
        write_step(step_path(journal, step), a_journal_step([a_journal_sample(0, 0)]))
    return Loading(checkpoints=checkpoints, journal=journal, run="run-1", origin=None)


def write(checkpoints: Checkpoints, step: int, *, run: str = "run-1") -> Path:
    folder = checkpoints.begin(step)
    (folder / WEIGHTS).write_text(f"weights {step}")
    return checkpoints.complete(step, folder, {"run": run}).folder


def folder_of(loading: Loading, step: int) -> Path:
    return next(one.folder for one in loading.checkpoints.all() if one.step == step)


def test_the_newest_checkpoint_is_loaded(loading: Loading) -> None:
    assert loading.choose(sealed=6) == Start(4, folder_of(loading, 4))


def test_without_a_checkpoint_the_run_begins_with_the_initial_model(loading: Loading, tmp_path: Path) -> None:
    loading.checkpoints = Checkpoints(tmp_path / "none", max_kept=-1)

    assert loading.choose(sealed=0) == Start(0, None)


def test_a_damaged_one_is_set_aside_and_the_one_before_it_is_loaded(loading: Loading, tmp_path: Path) -> None:
    damaged = folder_of(loading, 4)
    (damaged / WEIGHTS).write_text("weights 5")

    start = loading.choose(sealed=6)

    assert start == Start(2, folder_of(loading, 2))
    assert (tmp_path / "checkpoints" / "global_step_4.refused" / WEIGHTS).read_text() == "weights 5"
    assert (tmp_path / "checkpoints" / "latest").resolve() == folder_of(loading, 2)
    assert [one.step for one in loading.checkpoints.all()] == [2]


def test_a_partial_one_is_refused_like_a_damaged_one(loading: Loading) -> None:
    (folder_of(loading, 4) / WEIGHTS).unlink()

    assert loading.choose(sealed=6).step == 2


def test_one_that_the_ranks_die_of_gives_way_to_the_one_before_it(loading: Loading) -> None:
    newest = folder_of(loading, 4)
    for _ in range(MAX_LOADS):
        assert loading.choose(sealed=6).folder == newest
        loading.note(newest, is_loaded=False)

    assert loading.choose(sealed=6).step == 2
    assert newest.is_dir()


def test_a_load_that_went_well_forgives_what_was_before(loading: Loading) -> None:
    newest = folder_of(loading, 4)
    for is_loaded in (False, True, False):
        loading.note(newest, is_loaded=is_loaded)

    assert loading.choose(sealed=6).folder == newest


def test_where_all_were_tried_in_vain_the_newest_is_tried_again(loading: Loading) -> None:
    for step in (2, 4):
        for _ in range(MAX_LOADS):
            loading.note(folder_of(loading, step), is_loaded=False)

    assert loading.choose(sealed=6).step == 4


def test_nothing_is_loaded_that_the_journal_does_not_go_on_from(loading: Loading) -> None:
    for step in (2, 4):
        (folder_of(loading, step) / WEIGHTS).unlink()

    with pytest.raises(CheckpointError) as caught:
        loading.choose(sealed=6)

    for expected in (
        "there is nothing to load",
        "global_step_4/model.safetensors is missing",
        "global_step_2/model.safetensors is missing",
        "from step 0 the journal would be needed of step 1",
    ):
        assert expected in str(caught.value)


def test_the_checkpoint_of_another_run_is_not_loaded(loading: Loading) -> None:
    write(loading.checkpoints, 5, run="run-2")

    assert loading.choose(sealed=6).step == 4
    assert [one.step for one in loading.checkpoints.all()] == [2, 4, 5]


def test_one_that_the_ledger_knows_nothing_of_is_not_loaded(loading: Loading) -> None:
    write(loading.checkpoints, 9)

    assert loading.choose(sealed=6).step == 4


def test_a_fork_begins_with_its_origin(loading: Loading, tmp_path: Path) -> None:
    origin = write(Checkpoints(tmp_path / "other", max_kept=-1), 3, run="run-0")
    loading.checkpoints = Checkpoints(tmp_path / "none", max_kept=-1)
    loading.origin = origin

    assert loading.choose(sealed=6) == Start(3, origin)


def test_a_damaged_origin_is_named_and_left_where_it_is(loading: Loading, tmp_path: Path) -> None:
    origin = write(Checkpoints(tmp_path / "other", max_kept=-1), 3, run="run-0")
    (origin / WEIGHTS).unlink()
    loading.checkpoints = Checkpoints(tmp_path / "none", max_kept=-1)
    loading.origin = origin

    with pytest.raises(CheckpointError, match=f"{origin}/model.safetensors is missing"):
        loading.choose(sealed=6)

    assert origin.is_dir()


def test_ranks_that_ran_out_of_memory_begin_with_smaller_micro_batches_from_then_on(loading: Loading) -> None:
    before = loading.choose(sealed=6)
    loading.shrink(3)
    once = loading.choose(sealed=6)
    loading.shrink(2)
    twice = loading.choose(sealed=6)

    assert [start.micro_batch_divisor for start in (before, once, twice)] == [1, 3, 6]
    assert {start.folder for start in (before, once, twice)} == {before.folder}
