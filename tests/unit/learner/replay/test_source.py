"""Which steps of a run can be replayed, and from where; the run's folder is left as it is."""

from pathlib import Path

import pytest
from unit.learner.coordinator.journal_builders import a_journal_sample, a_journal_step

from tetrad_config import dump_resolved, load
from tetrad_learner.coordinator.checkpoints import Checkpoints
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_learner.coordinator.loggers.json_lines import JsonLines
from tetrad_learner.coordinator.store import Store
from tetrad_learner.replay.source import ReplayError, Source
from tetrad_trajectories.journal import JournalStep, step_path, write_step
from tetrad_wire.ids import Draw, PolicyVersion

STEPS = 6


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of six steps with checkpoints of steps 2 and 4, the first two journals pruned."""
    folder = tmp_path / "adder"
    (folder / "journal").mkdir(parents=True)
    paths = [f"trainer.run_dir={folder}", f"trainer.ckpt_path={folder / 'checkpoints'}"]
    config = load(["+experiment=demo", *paths], environ={}).config
    (folder / "config.yaml").write_text(dump_resolved(config))
    store = Store(folder / "ledger.sqlite")
    for step in range(1, STEPS + 1):
        sealed = fa.StepSealed(step=step, lineage=1, draws=(step,), journal_hash="h")
        minted = fa.VersionMinted(version=PolicyVersion(step), lineage=1, step=step)
        published = fa.VersionPublished(version=PolicyVersion(step), digest=f"w{step}")
        store.commit([fa.GroupDrawn(draw=Draw(step), size=1), sealed, minted, published], [])
    store.close()
    for step in range(3, STEPS + 1):
        write_step(step_path(folder / "journal", step), a_sealed_step(step))
    checkpoints = Checkpoints(folder / "checkpoints", max_kept=-1)
    for step in (2, 4):
        temporary = checkpoints.begin(step)
        (temporary / "model.safetensors").write_text("weights")
        checkpoints.complete(step, temporary, {})
    return folder


def a_sealed_step(step: int) -> JournalStep:
    sample = a_journal_step([a_journal_sample(step, 0)])
    return JournalStep(
        run_id="run",
        step=step,
        lineage=1,
        samples=sample.samples,
        mini_batch_ends=(1,),
        events=({"kind": "sealed", "num_steps": 100 + step, "steps_per_epoch": 50},),
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_step_is_replayed_from_the_newest_checkpoint_before_it(run: Path) -> None:
    job = Source.of(run).job(6)

    assert (job.load, job.steps) == (str(run / "checkpoints" / "global_step_4"), (5, 6))
    assert (job.num_steps, job.steps_per_epoch) == (106, 50)


def test_the_checkpoint_of_the_step_itself_is_too_late(run: Path) -> None:
    job = Source.of(run).job(4)

    assert (job.load, job.steps) == (str(run / "checkpoints" / "global_step_2"), (3, 4))


def test_a_damaged_checkpoint_is_replayed_past(run: Path) -> None:
    (run / "checkpoints" / "global_step_4" / "model.safetensors").write_text("none")

    assert Source.of(run).job(6).steps == (3, 4, 5, 6)
    assert (run / "checkpoints" / "global_step_4").is_dir()


def test_with_every_journal_the_initial_model_will_do(run: Path) -> None:
    for step in (1, 2):
        write_step(step_path(run / "journal", step), a_sealed_step(step))

    job = Source.of(run).job(2)

    assert (job.load, job.steps) == ("", (1, 2))


def test_a_step_without_journal_is_refused_with_those_that_have_one(run: Path) -> None:
    with pytest.raises(ReplayError, match="step 2 of adder cannot be replayed; 3-6 can"):
        Source.of(run).job(2)


def test_what_was_skipped_is_not_executed_on_the_way_to_a_later_step(run: Path) -> None:
    store = Store(run / "ledger.sqlite")
    dropped = fa.GroupDropped(draw=Draw(5), reason=DropReason.SKIPPED, detail="")
    store.commit([fa.StepMarkedPoisoned(step=5), dropped, fa.StepSkipped(step=5)], [])
    store.close()

    assert Source.of(run).job(6).steps == (6,)
    assert Source.of(run).job(5).steps == (5,)


def test_what_was_recorded_is_found(run: Path) -> None:
    log = JsonLines(run / "metrics.jsonl")
    log.log(5, {"eval/all/mean_reward": 0.5})
    log.log(5, {"policy/final_loss": 0.25})
    log.close()

    source = Source.of(run)

    assert source.recorded(5) == {"policy/final_loss": 0.25}
    assert source.recorded(6) == {}
    assert source.digest_of(5) == "w5"


def test_looking_changes_nothing(run: Path) -> None:
    before = contents(run)

    Source.of(run).job(6)

    assert contents(run) == before


def test_a_folder_without_a_ledger_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"holds no run: there is no ledger\.sqlite"):
        Source.of(tmp_path)
