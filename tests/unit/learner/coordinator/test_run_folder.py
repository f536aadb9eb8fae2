from pathlib import Path

import pytest

from tetrad_config import RunConfig, load
from tetrad_learner.coordinator.checkpoints import LEDGER, Checkpoints
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.run_folder import RunFolder, check_same_run, open_ledger
from tetrad_runtime.exits import ConfigFault, RunBusy
from tetrad_wire.ids import Draw


def a_config(*overrides: str) -> RunConfig:
    return load(["trainer.run_name=adder", *overrides], environ={"HOME": "/home/ada"}).config


def a_checkpoint(folder: Path, ledger: Path) -> Checkpoints:
    """Of step 1, with a ledger that knows of a second step and an open group."""
    checkpoints = Checkpoints(folder, max_kept=-1)
    store = open_ledger(RunFolder(ledger), a_config("trainer.resume_mode=none"), checkpoints)
    for draw in (0, 1, 2):
        store.commit([fa.GroupDrawn(draw=Draw(draw), size=1)], [])
    for step in (1, 2):
        store.commit([fa.StepSealed(step=step, lineage=1, draws=(step - 1,), journal_hash="h")], [])
    temporary = checkpoints.begin(1)
    store.backup(temporary / LEDGER)
    checkpoints.complete(1, temporary, {})
    return checkpoints


def test_two_coordinators_cannot_share_a_folder(tmp_path: Path) -> None:
    RunFolder(tmp_path).lock()

    with pytest.raises(RunBusy, match="another coordinator runs on"):
        RunFolder(tmp_path).lock()


def test_a_ledger_that_is_there_is_opened_again(tmp_path: Path) -> None:
    first = open_ledger(RunFolder(tmp_path), a_config(), Checkpoints(tmp_path / "c", max_kept=-1))

    again = open_ledger(RunFolder(tmp_path), a_config(), Checkpoints(tmp_path / "c", max_kept=-1))

    assert first.meta("run") == again.meta("run")
    assert first.meta("secret") == again.meta("secret")
    assert str(again.meta("run")).startswith("adder-")


def test_a_lost_ledger_comes_back_from_the_newest_checkpoint(tmp_path: Path) -> None:
    checkpoints = a_checkpoint(tmp_path / "checkpoints", tmp_path / "run")
    old = open_ledger(RunFolder(tmp_path / "run"), a_config(), checkpoints)
    (tmp_path / "run" / LEDGER).unlink()

    store = open_ledger(RunFolder(tmp_path / "run"), a_config("trainer.resume_mode=latest"), checkpoints)

    assert list(store.image().steps) == [1]
    assert store.image().cursor == 3
    assert store.meta("run") == old.meta("run")
    assert store.meta("secret") != old.meta("secret")


def test_a_fork_is_another_run(tmp_path: Path) -> None:
    checkpoints = a_checkpoint(tmp_path / "checkpoints", tmp_path / "run")
    old = open_ledger(RunFolder(tmp_path / "run"), a_config(), checkpoints)
    origin = checkpoints.all()[0].folder
    config = a_config("trainer.resume_mode=from_path", f"trainer.resume_path={origin}")

    store = open_ledger(RunFolder(tmp_path / "fork"), config, Checkpoints(tmp_path / "other", max_kept=-1))

    assert store.meta("run") != old.meta("run")
    assert store.meta("origin") == str(origin)
    assert list(store.image().steps) == [1]


def test_a_fork_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    checkpoints = a_checkpoint(tmp_path / "checkpoints", tmp_path / "run")
    fork = RunFolder(tmp_path / "fork")
    fork.journal.mkdir(parents=True)
    (fork.path / f".{LEDGER}.fork").write_bytes(b"half a ledger")
    config = a_config("trainer.resume_mode=from_path", f"trainer.resume_path={checkpoints.all()[0].folder}")

    store = open_ledger(fork, config, checkpoints)

    assert list(store.image().steps) == [1]
    assert sorted(path.name for path in fork.path.iterdir() if path.name.startswith(".")) == []


def test_what_makes_a_run_another_one_is_refused(tmp_path: Path) -> None:
    store = open_ledger(RunFolder(tmp_path), a_config(), Checkpoints(tmp_path / "c", max_kept=-1))
    check_same_run(store, key="trainer.seed", value="7", what="trainer.seed")

    check_same_run(store, key="trainer.seed", value="7", what="trainer.seed")

    with pytest.raises(ConfigFault, match=r"trainer\.seed is 8, but the run was begun with 7"):
        check_same_run(store, key="trainer.seed", value="8", what="trainer.seed")


def test_a_lost_ledger_comes_back_from_the_newest_checkpoint_that_is_whole(tmp_path: Path) -> None:
    checkpoints = a_checkpoint(tmp_path / "checkpoints", tmp_path / "run")
    damaged = checkpoints.begin(2)
    (damaged / LEDGER).write_text("a ledger")
    (checkpoints.complete(2, damaged, {}).folder / LEDGER).write_text("none")
    (tmp_path / "run" / LEDGER).unlink()

    store = open_ledger(RunFolder(tmp_path / "run"), a_config("trainer.resume_mode=latest"), checkpoints)

    assert list(store.image().steps) == [1]
    assert [checkpoint.step for checkpoint in checkpoints.all()] == [1]


def test_a_damaged_checkpoint_cannot_be_forked_from(tmp_path: Path) -> None:
    origin = a_checkpoint(tmp_path / "checkpoints", tmp_path / "run").all()[0].folder
    (origin / LEDGER).write_text("none")
    config = a_config("trainer.resume_mode=from_path", f"trainer.resume_path={origin}")

    with pytest.raises(ConfigFault, match=r"trainer\.resume_path: .*differs from the manifest; choose another"):
        open_ledger(RunFolder(tmp_path / "fork"), config, Checkpoints(tmp_path / "other", max_kept=-1))

    assert origin.is_dir()


@pytest.mark.parametrize("mode", ["latest", "from_path"])
def test_evaluation_alone_goes_on_with_no_run(tmp_path: Path, mode: str) -> None:
    checkpoints = a_checkpoint(tmp_path / "checkpoints", tmp_path / "run")
    path = f"trainer.resume_path={tmp_path}/checkpoints/global_step_1" if mode == "from_path" else "trainer.seed=42"
    config = a_config("trainer.epochs=0", f"trainer.resume_mode={mode}", path)

    store = open_ledger(RunFolder(tmp_path / "evaluation"), config, checkpoints)

    assert list(store.image().steps) == []
    assert store.meta("origin") is None
