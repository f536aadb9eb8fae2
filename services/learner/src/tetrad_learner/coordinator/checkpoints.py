"""Checkpoint folders: whole or absent, `latest` last, the oldest removed, the damaged set aside.

`global_step_N/` is a Hugging Face folder with `trainer/`, `ledger.sqlite` and `MANIFEST.json`. Owns names and
retention; the ranks write the tensors. Which of several is loaded is `loading`'s decision.
"""

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_trajectories.atomic import written_atomically
from tetrad_trajectories.checkpoint import MANIFEST, verify, write_manifest
from tetrad_trajectories.errors import CheckpointError

LEDGER: Final = "ledger.sqlite"
LATEST_LINK: Final = "latest"
BEST_LINK: Final = "best"
LATEST_FILE: Final = "latest_ckpt_global_step.txt"
REFUSED_SUFFIX: Final = ".refused"
_NAME: Final = re.compile(r"global_step_(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    step: int
    folder: Path


class Checkpoints:
    """The checkpoints of one folder. Whatever changes them blocks, and one call at a time: use a thread and a lock."""

    def __init__(self, folder: Path, *, max_kept: int, scores: Mapping[int, float] | None = None) -> None:
        """Keep the newest `max_kept` (-1: all) and the one with the best of `scores`, which go by training step."""
        self._folder = folder
        self._max_kept = max_kept
        self._scores = dict(scores or {})

    def begin(self, step: int) -> Path:
        """Make the temporary folder of a checkpoint, removing what a killed writer left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(".global_step_*.tmp"):
            shutil.rmtree(leftover)
        temporary = self._folder / f".global_step_{step}.{secrets.token_hex(4)}.tmp"
        temporary.mkdir()
        return temporary

    def complete(self, step: int, temporary: Path, facts: dict[str, object]) -> Checkpoint:
        """Write the manifest, rename, move `latest`, then remove what is beyond the limit."""
        write_manifest(temporary, {"step": step, **facts})
        for folder in [temporary, *(path for path in temporary.rglob("*") if path.is_dir())]:
            _sync_folder(folder)
        final = self._folder / f"global_step_{step}"
        former = self._hide(final) if final.exists() else None
        temporary.rename(final)
        _sync_folder(self._folder)
        if former is not None:
            shutil.rmtree(former)
        self._point_to_latest(final)
        self._prune()
        return Checkpoint(step, final)

    def note_score(self, step: int, score: float) -> None:
        """Take the evaluation of the weights after `step`; the best of the scored checkpoints is never removed."""
        self._scores[step] = score
        self._prune()

    def refuse_damaged(self, checkpoint: Checkpoint) -> str | None:
        """Compare a checkpoint with its manifest; set a damaged one aside and return why, or None if it is whole."""
        try:
            verify(checkpoint.folder)
        except CheckpointError as error:
            return f"{error}; moved to {self._set_aside(checkpoint)}"
        return None

    def _set_aside(self, checkpoint: Checkpoint) -> Path:
        """Give it a name that does not count; it stays for whoever looks into it."""
        target = checkpoint.folder.with_name(f"{checkpoint.folder.name}{REFUSED_SUFFIX}")
        if target.exists():
            shutil.rmtree(target)
        checkpoint.folder.rename(target)
        _sync_folder(self._folder)
        if (newest := self.newest()) is not None:
            self._point_to_latest(newest.folder)
        self._link_best()
        return target

    def all(self) -> list[Checkpoint]:
        """Complete checkpoints, oldest first; one without a manifest does not count."""
        if not self._folder.is_dir():
            return []
        named = [(match, path) for path in self._folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        found = [Checkpoint(int(match[1]), path) for match, path in named if (path / MANIFEST).is_file()]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint."""
        return next(reversed(self.all()), None)

    def journal_begins_after(self) -> int:
        """The step up to which no journal is needed: that of the oldest checkpoint that may be fallen back to.

        While there is one and more are to come, it is 0: should the one be damaged, the run begins anew.
        """
        found = self.all()
        is_only_one = len(found) < 2 and self._max_kept != 1
        return 0 if is_only_one or not found else found[0].step

    def best(self) -> Checkpoint | None:
        """The checkpoint with the best score; of equal ones the newest. None where no checkpoint has one."""
        scored = [checkpoint for checkpoint in self.all() if checkpoint.step in self._scores]
        return max(scored, key=lambda one: (self._scores[one.step], one.step), default=None)

    def _point_to_latest(self, final: Path) -> None:
        self._link(LATEST_LINK, final)
        with written_atomically(self._folder / LATEST_FILE) as path:
            path.write_text(str(_step_of(final)))

    def _link_best(self) -> None:
        if (best := self.best()) is not None:
            self._link(BEST_LINK, best.folder)
        else:
            (self._folder / BEST_LINK).unlink(missing_ok=True)

    def _link(self, name: str, target: Path) -> None:
        link = self._folder / f".{name}.{secrets.token_hex(4)}"
        link.symlink_to(target.name)
        link.replace(self._folder / name)

    def _prune(self) -> None:
        if not self._folder.is_dir():
            return
        self._link_best()
        best, found = self.best(), self.all()
        # The newest is what a resumption of the ledger needs, whatever the limit.
        outdated = found[: -max(self._max_kept, 1)] if self._max_kept >= 0 else []
        for checkpoint in outdated:
            if checkpoint != best:
                shutil.rmtree(self._hide(checkpoint.folder))

    def _hide(self, folder: Path) -> Path:
        """Give a complete checkpoint a temporary name: one that is half removed must not count."""
        return folder.rename(self._folder / f".{folder.name}.{secrets.token_hex(4)}.tmp")


def _step_of(folder: Path) -> int:
    match = _NAME.fullmatch(folder.name)
    if match is None:
        raise CheckpointError(f"{folder} must be named global_step_N")
    return int(match[1])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
