from pathlib import Path

import pytest

from tetrad_learner.coordinator.checkpoints import (
    LATEST_FILE,
    LATEST_LINK,
    MANIFEST,
    CheckpointError,
    Checkpoints,
    verify,
)


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


@pytest.mark.parametrize("manifest", [None, "{", "{}"])
def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)

    with pytest.raises(CheckpointError, match=f"{tmp_path} is no checkpoint"):
        verify(tmp_path)


def test_an_absent_folder_has_no_checkpoints(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "absent", max_kept=-1).newest() is None
