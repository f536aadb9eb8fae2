"""Makes a run's folder fit for a run: cleared where the user asked for a new beginning, or fit to go on with.

Done here, once, before any process starts, and not by the learner: it is started again after a crash, and must then go
on. Owns the list of what a run writes; whatever else lies in the folder is the user's and stays. Refuses where
something would be lost, and where what goes on would not be the same run.
"""

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from tetrad_config import RunConfig, is_resolved, learning_changes, load_resolved
from tetrad_config.reward_record import FOLDER
from tetrad_config.trainer import ResumeMode
from tetrad_runtime.exits import ConfigFault

CONFIG: Final = "config.yaml"
LEDGER: Final = "ledger.sqlite"
# What makes a folder that of a run that was begun.
TRACES: Final = (LEDGER, "journal")
CHECKPOINTS: Final = "checkpoints"
WRITTEN: Final = (
    *TRACES,
    "ledger.sqlite-wal",
    "ledger.sqlite-shm",
    CHECKPOINTS,
    "exports",
    "tensorboard",
    "logs",
    "poisoned",
    FOLDER,
    "prometheus",
    "grafana",
    "metrics.jsonl",
    "summary.json",
    "ended.json",
    "curve.png",
    CONFIG,
)
# In the folder of checkpoints.
WRITTEN_CHECKPOINTS: Final = (
    "global_step_*",
    ".global_step_*.tmp",
    ".latest.*",
    ".best.*",
    "latest",
    "best",
    "latest_ckpt_global_step.txt",
)


def begin(config: RunConfig, run_dir: Path) -> str | None:
    """Make the folder fit for the run; only for the holder of its lock, before anything is written to it.

    Returns what the user should know. Raises ConfigFault where resume_mode=none meets an earlier run that may not be
    cleared, where another mode meets a run that learnt otherwise, and where the folder is not that of a run.
    """
    trainer = config.trainer
    _refuse_what_is_no_run(run_dir)
    if trainer.resume_mode is not ResumeMode.NONE:
        return _go_on(config, run_dir)
    _refuse_foreign_checkpoints(trainer.ckpt_path.resolve(), run_dir)
    has_run = holds_run(run_dir)
    if has_run and not trainer.overwrite:
        raise ConfigFault(
            f"{run_dir} holds an earlier run: trainer.resume_mode=latest goes on with it, "
            "trainer.overwrite=true clears it, another trainer.run_name leaves it alone"
        )
    if trainer.overwrite:
        clear(run_dir)
        _clear_checkpoints(trainer.ckpt_path.resolve(), run_dir)
    return f"{run_dir} is cleared of the earlier run" if has_run else None


def holds_run(run_dir: Path) -> bool:
    """Tell whether a run was begun in this folder."""
    return any((run_dir / name).exists() for name in (*TRACES, CHECKPOINTS))


def clear(run_dir: Path) -> None:
    """Remove what a run writes."""
    for name in WRITTEN:
        _remove(run_dir / name)


def _clear_checkpoints(ckpt_path: Path, run_dir: Path) -> None:
    """Remove the checkpoints of a folder within the run's that has another name: the new run would load them."""
    if ckpt_path.is_relative_to(run_dir) and ckpt_path.is_dir():
        # By name: the link to the latest points nowhere once that is gone.
        for path in list(ckpt_path.iterdir()):
            if any(fnmatch(path.name, pattern) for pattern in WRITTEN_CHECKPOINTS):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refuse_what_is_no_run(run_dir: Path) -> None:
    """A folder of the user's may hold `logs` or `config.yaml` too; neither may be removed or written over."""
    if (run_dir / LEDGER).exists() or is_resolved(run_dir / CONFIG):
        return
    theirs = [name for name in WRITTEN if (run_dir / name).exists() or (run_dir / name).is_symlink()]
    if theirs:
        raise ConfigFault(
            f"{run_dir} holds {', '.join(theirs)}, which no run of Tetrad wrote; choose another trainer.run_name or "
            "trainer.run_dir"
        )


def _go_on(config: RunConfig, run_dir: Path) -> str | None:
    """Compare with the run that is there; say where it goes on."""
    if not (run_dir / LEDGER).exists():
        return None
    if (run_dir / CONFIG).exists():
        changes = learning_changes(load_resolved(run_dir / CONFIG), config)
        if changes:
            raise ConfigFault(
                f"{run_dir} holds a run that learnt with other settings:\n"
                + "".join(f"  {change}\n" for change in changes)
                + "set them back, choose another trainer.run_name, or begin anew with trainer.resume_mode=none "
                "trainer.overwrite=true"
            )
    newest = _newest_checkpoint(config.trainer.ckpt_path)
    whence = f"from the checkpoint of step {newest}" if newest is not None else "from the model, no checkpoint yet"
    return f"{run_dir} holds a run, which goes on: {whence}; steps after it are trained again from the journal"


def _newest_checkpoint(ckpt_path: Path) -> int | None:
    """Return the step of the newest checkpoint that is whole."""
    manifests = ckpt_path.glob("global_step_*/MANIFEST.json")
    steps = [int(number) for path in manifests if (number := path.parent.name.rpartition("_")[2]).isdigit()]
    return max(steps, default=None)


def _refuse_foreign_checkpoints(ckpt_path: Path, run_dir: Path) -> None:
    """Outside the run's folder nothing is ever removed, and a run that begins anew must not load what it finds."""
    if ckpt_path.is_relative_to(run_dir):
        return
    found = sorted(path.name for path in ckpt_path.glob("global_step_*"))
    if found:
        raise ConfigFault(
            f"trainer.resume_mode=none, but trainer.ckpt_path={ckpt_path} holds {found[0]}; remove it, choose another "
            "trainer.ckpt_path, or go on with trainer.resume_mode=latest"
        )
