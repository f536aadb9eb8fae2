from pathlib import Path

import pytest

from tetrad_learner.coordinator.checkpoints import BEST_LINK, LATEST_FILE, LATEST_LINK, Checkpoints
from tetrad_trajectories.checkpoint import MANIFEST, verify
from tetrad_trajectories.errors import CheckpointError


def write(checkpoints: Checkpoints, step: int, text: str = "weights") -> Path:
    folder = checkpoints.begin(step)
    (folder / "model.safetensors").write_text(f"{text} {step}")
    (folder / "trainer").mkdir()
    (folder / "trainer" / "rank_0.pt").write_text("state")
    return checkpoints.complete(step, folder, {"version": 1}).folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", max_kept=-1)


def test_a_complete_checkpoint_verifies(checkpoints: Checkpoints) -> None:
    folder = write(checkpoints, 3)

    manifest = verify(folder)

    assert manifest["step"] == 3
    assert manifest["version"] == 1
    assert set(manifest["files"]) == {"model.safetensors", "trainer/rank_0.pt"}


def test_before_the_rename_nothing_counts(checkpoints: Checkpoints, tmp_path: Path) -> None:
    write(checkpoints, 1)
    folder = checkpoints.begin(2)
    (folder / "model.safetensors").write_text("half")

    assert [checkpoint.step for checkpoint in checkpoints.all()] == [1]
    assert (tmp_path / "checkpoints" / LATEST_LINK).resolve().name == "global_step_1"


def test_a_new_writer_removes_what_a_killed_one_left(checkpoints: Checkpoints, tmp_path: Path) -> None:
    abandoned = checkpoints.begin(2)
    (abandoned / "model.safetensors").write_text("half")

    folder = checkpoints.begin(2)

    assert names(tmp_path / "checkpoints") == [folder.name]
    assert names(folder) == []


def test_latest_names_the_newest_and_moves_after_it_exists(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for step in (5, 10):
        write(checkpoints, step)

    assert (tmp_path / "checkpoints" / LATEST_LINK).resolve().name == "global_step_10"
    assert (tmp_path / "checkpoints" / LATEST_FILE).read_text() == "10"
    assert checkpoints.newest() == checkpoints.all()[-1]


def test_steps_are_ordered_by_number(checkpoints: Checkpoints) -> None:
    for step in (100, 20, 3):
        write(checkpoints, step)

    assert [checkpoint.step for checkpoint in checkpoints.all()] == [3, 20, 100]


def test_a_folder_without_manifest_is_no_checkpoint(checkpoints: Checkpoints) -> None:
    write(checkpoints, 1)
    (write(checkpoints, 2) / MANIFEST).unlink()

    assert [checkpoint.step for checkpoint in checkpoints.all()] == [1]
    assert checkpoints.newest() is not None


def test_the_oldest_beyond_the_limit_are_removed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, max_kept=2)

    for step in (1, 2, 3, 4):
        write(checkpoints, step)

    assert names(tmp_path) == ["global_step_3", "global_step_4", LATEST_LINK, LATEST_FILE]


def test_the_newest_is_kept_whatever_the_limit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, max_kept=0)

    write(checkpoints, 7)

    assert [checkpoint.step for checkpoint in checkpoints.all()] == [7]


def test_a_step_may_be_saved_again(checkpoints: Checkpoints, tmp_path: Path) -> None:
    write(checkpoints, 4, "old")

    folder = write(checkpoints, 4, "new")

    assert (folder / "model.safetensors").read_text() == "new 4"
    assert names(tmp_path / "checkpoints") == ["global_step_4", LATEST_LINK, LATEST_FILE]
    verify(folder)


@pytest.mark.parametrize("harm", ["changed", "missing", "truncated"])
def test_a_harmed_file_is_named(checkpoints: Checkpoints, harm: str) -> None:
    folder = write(checkpoints, 3)
    file = folder / "trainer" / "rank_0.pt"
    match harm:
        case "changed":
            file.write_text("etats")
        case "truncated":
            file.write_text("stat")
        case "missing":
            file.unlink()

    with pytest.raises(CheckpointError, match=r"rank_0\.pt is missing or differs from the manifest"):
        verify(folder)


def test_an_absent_folder_has_no_checkpoints(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "absent", max_kept=-1).newest() is None


def test_the_best_by_score_is_kept_beside_the_newest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, max_kept=1)
    for step, score in ((1, 0.2), (2, 0.9), (3, 0.5), (4, 0.1)):
        write(checkpoints, step)
        checkpoints.note_score(step, score)

    assert [checkpoint.step for checkpoint in checkpoints.all()] == [2, 4]
    assert (tmp_path / BEST_LINK).resolve().name == "global_step_2"


def test_a_better_one_takes_the_place_of_the_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, max_kept=1, scores={1: 0.2})
    for step in (1, 2):
        write(checkpoints, step)

    checkpoints.note_score(2, 0.3)

    assert [checkpoint.step for checkpoint in checkpoints.all()] == [2]
    assert (tmp_path / BEST_LINK).resolve().name == "global_step_2"


def test_of_equal_scores_the_newest_is_the_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, max_kept=-1, scores={1: 0.5, 2: 0.5, 3: 0.4, 9: 0.8})
    for step in (1, 2, 3):
        write(checkpoints, step)

    best = checkpoints.best()

    assert best is not None
    assert best.step == 2


def test_scores_of_an_earlier_start_count(tmp_path: Path) -> None:
    for step in (1, 2):
        write(Checkpoints(tmp_path, max_kept=-1), step)

    write(Checkpoints(tmp_path, max_kept=1, scores={1: 0.9, 2: 0.1}), 3)

    assert names(tmp_path) == [BEST_LINK, "global_step_1", "global_step_3", LATEST_LINK, LATEST_FILE]


def test_a_damaged_one_is_set_aside_with_its_reason(checkpoints: Checkpoints, tmp_path: Path) -> None:
    write(checkpoints, 1)
    folder = write(checkpoints, 2)
    checkpoints.note_score(2, 1.0)
    (folder / "model.safetensors").write_text("rubbish")

    reason = checkpoints.refuse_damaged(checkpoints.all()[-1])

    assert reason == f"{folder}/model.safetensors is missing or differs from the manifest; moved to {folder}.refused"
    assert names(tmp_path / "checkpoints") == ["global_step_1", "global_step_2.refused", LATEST_LINK, LATEST_FILE]
    assert (tmp_path / "checkpoints" / LATEST_FILE).read_text() == "1"


def test_a_whole_one_is_not_refused(checkpoints: Checkpoints) -> None:
    write(checkpoints, 1)

    assert checkpoints.refuse_damaged(checkpoints.all()[0]) is None
    assert [checkpoint.step for checkpoint in checkpoints.all()] == [1]


@pytest.mark.parametrize(("max_kept", "begins_after"), [(-1, [0, 1, 1]), (2, [0, 1, 2]), (1, [1, 2, 3])])
def test_the_journal_begins_where_the_oldest_checkpoint_may_be_fallen_back_to(
    tmp_path: Path, max_kept: int, begins_after: list[int]
) -> None:
    checkpoints = Checkpoints(tmp_path, max_kept=max_kept)
    found = []

    for step in (1, 2, 3):
        write(checkpoints, step)
        found.append(checkpoints.journal_begins_after())

    assert found == begins_after
