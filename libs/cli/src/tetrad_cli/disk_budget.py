"""Disk that a run's checkpoints and journal take, against what is free where they will lie.

A run that could not write one checkpoint is refused; one whose checkpoints do not all fit is told how many do.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tetrad_cli.planned import planned
from tetrad_config import RunConfig
from tetrad_config.plan import Plan, keeps_best
from tetrad_config.plan_text import size_text
from tetrad_config.role_use import journal_bytes
from tetrad_runtime.exits import ConfigFault
from tetrad_trajectories.errors import DatasetError

CHECKPOINTS = "global_step_*"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskBudget:
    """Bytes; None where they cannot be known before the run."""

    place: Path
    """The nearest folder that is there."""
    free: int
    """Of it, with the checkpoints that lie there already: they are counted among the run's own, or cleared."""
    checkpoint: int | None
    """One of them."""
    checkpoints: int | None
    """All that lie there at once."""
    num_kept: int | None
    journal: int | None
    """0 where it lies on another disk."""
    has_best: bool
    """Whether one is kept for its score, beside the newest."""

    def refuse(self) -> None:
        """Raise ConfigFault where not even one checkpoint fits."""
        if self.checkpoint is not None and self.checkpoints != 0 and self.checkpoint > self.free:
            raise ConfigFault(
                f"trainer.ckpt_path: one checkpoint takes {size_text(self.checkpoint)}; {size_text(self.free)} are "
                f"free at {self.place}; set trainer.ckpt_path to another disk, or remove what fills this one"
            )

    def lines(self) -> Iterator[str]:
        """Say what it is, and how many checkpoints fit where not all do; nothing for a run that writes none."""
        if self.checkpoints == 0:
            return
        yield f"disk: {self._needed()}; {size_text(self.free)} are free at {self.place}"
        if self.checkpoint and self.checkpoints is not None and self.checkpoints + (self.journal or 0) > self.free:
            # One more is there while it is written, before the oldest goes.
            num = (self.free - (self.journal or 0)) // self.checkpoint - 1 - self.has_best
            fix = f"set trainer.max_ckpts_to_keep={num}" if num >= 1 else "set trainer.max_ckpts_to_keep=1"
            yield f"the disk will be full before the run ends: {fix}, or trainer.ckpt_path to another disk"

    def _needed(self) -> str:
        journal = f", and at most {size_text(self.journal)} for the journal" if self.journal else ""
        if self.checkpoints is None:
            return f"{size_text(self.checkpoint)} for each checkpoint; how many there will be is not known yet{journal}"
        each = f"{self.num_kept} kept, {size_text(self.checkpoint)} each"
        return f"at most {size_text(self.checkpoints)} for checkpoints ({each}){journal}"


def disk_budget(config: RunConfig) -> DiskBudget:
    """Look at the disk; raises ConfigError like `plan`."""
    trainer = config.trainer
    folder = trainer.ckpt_path.resolve()
    place = _nearest(folder)
    try:
        found = planned(config)
    except DatasetError:
        # Whoever reads the rows says what is wrong with them.
        return DiskBudget(
            place=place, free=_free(folder), checkpoint=None, checkpoints=0, num_kept=None, journal=None, has_best=False
        )
    storage = found.storage
    return DiskBudget(
        place=place,
        free=_free(folder),
        checkpoint=storage.checkpoint_bytes,
        checkpoints=storage.disk_bytes if storage.checkpoints_written != 0 else 0,
        num_kept=storage.checkpoints_kept,
        journal=_journal(config, found),
        has_best=keeps_best(config),
    )


def _journal(config: RunConfig, found: Plan) -> int | None:
    here, there = _nearest(config.trainer.ckpt_path.resolve()), _nearest(config.trainer.run_dir.resolve())
    return journal_bytes(config, found) if os.stat(here).st_dev == os.stat(there).st_dev else 0


def _free(folder: Path) -> int:
    there = sum(file.stat().st_size for one in folder.glob(CHECKPOINTS) for file in one.rglob("*") if file.is_file())
    return shutil.disk_usage(_nearest(folder)).free + there


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
