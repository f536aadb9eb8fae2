"""A run as a replay sees it: its folder, read and never written.

Owns which steps can be replayed and from where: each step that a checkpoint lies before, with the journal of every step
between. Must not know of torch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tetrad_config import RunConfig, load_resolved
from tetrad_learner.coordinator.checkpoints import LEDGER, Checkpoint, Checkpoints
from tetrad_learner.coordinator.summary import read_records
from tetrad_learner.replay.job import Job
from tetrad_trajectories.checkpoint import verify
from tetrad_trajectories.errors import CheckpointError
from tetrad_trajectories.journal import list_steps, read_step, step_path


class ReplayError(ValueError):
    """The step cannot be replayed; the text says what can."""


@dataclass(frozen=True)
class Source:
    """What is kept of a run."""

    folder: Path
    config: RunConfig
    origin: Path | None
    """Checkpoint of another run that it was forked from."""
    skipped: frozenset[int]
    """Steps that the run went on without."""
    digests: Mapping[int, str]
    """Of the weights after each step, where they were published."""

    @classmethod
    def of(cls, folder: Path) -> Source:
        """Look at a run's folder; raises ReplayError where it is none."""
        if not (folder / LEDGER).is_file():
            raise ReplayError(f"{folder} holds no run: there is no {LEDGER}")
        config = load_resolved(folder / "config.yaml")
        with closing(sqlite3.connect(_read_only(folder / LEDGER), uri=True)) as ledger:
            origin = ledger.execute("SELECT value FROM meta WHERE key = 'origin'").fetchone()
            skipped = frozenset(step for (step,) in ledger.execute("SELECT step FROM skipped_steps"))
            rows = ledger.execute("SELECT step, digest FROM versions WHERE digest != '' ORDER BY version")
            digests: dict[int, str] = dict(rows.fetchall())
        return cls(folder, config, Path(origin[0]) if origin else None, skipped, digests)

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.resolve().name

    @property
    def journal(self) -> Path:
        """The batches."""
        return self.folder / "journal"

    @cached_property
    def beginnings(self) -> list[Checkpoint | None]:
        """Where a replay may begin, the latest first; None is the initial model."""
        configured = self.config.trainer.ckpt_path
        place = configured if configured.is_dir() else self.folder / "checkpoints"
        own: list[Checkpoint | None] = [*reversed(Checkpoints(place, max_kept=-1).all())]
        return [*own, None if self.origin is None else Checkpoint(_step_of(self.origin), self.origin)]

    @cached_property
    def replayable(self) -> list[int]:
        """Steps that can be replayed, as far as names of files tell."""
        steps = list_steps(self.journal)
        return replayable([_step(beginning) for beginning in self.beginnings], steps)

    def job(self, step: int, *, dump: Path | None = None) -> Job:
        """Return what ranks must do to repeat `step`; raises ReplayError where they cannot.

        A damaged checkpoint is passed over, and replayed past, where an older one and the journal allow it.
        """
        if step not in self.replayable:
            raise ReplayError(f"step {step} of {self.name} cannot be replayed; {spans(self.replayable)} can")
        refused: list[str] = []
        for beginning in self.beginnings:
            first = _step(beginning) + 1
            if first > step or not set(range(first, step + 1)) <= set(list_steps(self.journal)):
                continue
            if (reason := _damage(beginning)) is None:
                return self._job(beginning, step, dump=dump)
            refused.append(reason)
        raise ReplayError(f"step {step} cannot be replayed: {'; '.join(refused)}")

    def recorded(self, step: int) -> Mapping[str, float]:
        """The metrics of a step; empty where none are."""
        found = [metrics for number, metrics in read_records(self.folder / "metrics.jsonl") if number == step]
        return next((metrics for metrics in found if "policy/final_loss" in metrics), {})

    def digest_of(self, step: int) -> str:
        """Digest of the weights after a step; empty where they were never published."""
        return self.digests.get(step, "")

    def _job(self, beginning: Checkpoint | None, step: int, *, dump: Path | None) -> Job:
        between = [number for number in range(_step(beginning) + 1, step) if number not in self.skipped]
        placement = self.config.trainer.placement
        return Job(
            config=str((self.folder / "config.yaml").resolve()),
            journal=str(self.journal.resolve()),
            load="" if beginning is None else str(beginning.folder.resolve()),
            steps=(*between, step),
            dump="" if dump is None else str(dump),
            num_steps=self._length(step, "num_steps"),
            steps_per_epoch=self._length(step, "steps_per_epoch"),
            world_size=placement.policy_num_nodes * placement.policy_num_gpus_per_node,
        )

    def _length(self, step: int, name: str) -> int:
        """How long the run, or an epoch, was to be when the step was sealed."""
        events = read_step(step_path(self.journal, step)).events
        lengths = [event[name] for event in events if name in event]
        if not lengths:
            raise ReplayError(f"the journal of step {step} does not say {name} of the run")
        return int(str(lengths[-1]))


def replayable(beginnings: Iterable[int], journaled: Sequence[int]) -> list[int]:
    """Return the journaled steps that can be reached from one of `beginnings` without a gap.

    >>> replayable([4, 8], [5, 6, 8, 9])
    [5, 6, 9]
    """
    reached: set[int] = set()
    for beginning in beginnings:
        step = beginning + 1
        while step in journaled:
            reached.add(step)
            step += 1
    return sorted(reached)


def spans(steps: Sequence[int]) -> str:
    """Return steps as text.

    >>> spans([1, 2, 3, 7, 9, 10]), spans([])
    ('1-3, 7, 9-10', 'none')
    """
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"


def _read_only(ledger: Path) -> str:
    """The URI under which SQLite leaves no file of its own beside a ledger that nobody has open."""
    is_in_use = ledger.with_name(f"{ledger.name}-wal").exists()
    return f"{ledger.resolve().as_uri()}?mode=ro" + ("" if is_in_use else "&immutable=1")


def _step(beginning: Checkpoint | None) -> int:
    return 0 if beginning is None else beginning.step


def _step_of(folder: Path) -> int:
    number = folder.name.rpartition("_")[2]
    return int(number) if number.isdigit() else 0


def _damage(beginning: Checkpoint | None) -> str | None:
    if beginning is None:
        return None
    try:
        verify(beginning.folder)
    except CheckpointError as error:
        return str(error)
    return None
