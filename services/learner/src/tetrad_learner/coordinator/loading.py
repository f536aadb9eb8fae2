"""Which checkpoint a new set of ranks begins from: the newest that is whole, was not tried in vain, and can go on.

Owns that choice and why the others are not it. A damaged checkpoint is set aside. Must not know of processes: it is
told when ranks that loaded something never became ready.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tetrad_learner.coordinator.checkpoints import Checkpoint, Checkpoints
from tetrad_telemetry.logs import get_logger
from tetrad_trajectories.checkpoint import read_manifest, verify
from tetrad_trajectories.errors import CheckpointError
from tetrad_trajectories.journal import list_steps

log = get_logger(__name__)

# A rank may die while it loads for many reasons; twice in a row it is taken for the checkpoint's fault.
MAX_LOADS: Final = 2
SMALLER: Final = (
    "divide trainer.micro_train_batch_size_per_gpu, micro_forward_batch_size_per_gpu and max_tokens_per_microbatch by "
    "as much, and the next run begins with what fits"
)


@dataclass(frozen=True, slots=True)
class Start:
    """Where ranks begin."""

    step: int
    folder: Path | None
    """None is the initial model."""
    micro_batch_divisor: int = 1
    """By how much micro-batches are to be smaller than the run file says."""


@dataclass(slots=True, kw_only=True)
class Loading:
    """Chooses for one run, from start to start of its ranks. Reads every byte of a checkpoint: use a thread."""

    checkpoints: Checkpoints
    journal: Path
    run: str
    origin: Path | None
    """Checkpoint of another run that this one was forked from."""
    failures: Counter[Path | None] = field(default_factory=Counter)
    micro_batch_divisor: int = 1
    """Grows each time that ranks ran out of memory where smaller micro-batches may fit."""

    def note(self, folder: Path | None, *, is_loaded: bool) -> None:
        """Take note of how it went with a choice."""
        if is_loaded:
            self.failures.clear()
        else:
            self.failures[folder] += 1

    def shrink(self, by: int) -> None:
        """Have the next ranks, and all after them, begin with micro-batches that are so many times smaller."""
        self.micro_batch_divisor *= by
        log.warning("micro_batches_cut_smaller", divisor=self.micro_batch_divisor, fix=SMALLER)

    def choose(self, *, sealed: int) -> Start:
        """Return where the next ranks begin; steps up to `sealed` are executed again from the journal.

        Raises CheckpointError, with every reason, where there is no place to begin.
        """
        reasons: list[str] = []
        tried: Start | None = None
        for start in self._starts(sealed, reasons):
            if self.failures[start.folder] < MAX_LOADS:
                if tried is not None:
                    log.warning("checkpoint_passed_over", tried=str(tried.folder), instead=_named(start))
                return self._sized(start)
            tried = tried or start
        if tried is None:
            raise CheckpointError("there is nothing to load: " + "; ".join(reasons))
        return self._sized(tried)

    def _sized(self, start: Start) -> Start:
        return replace(start, micro_batch_divisor=self.micro_batch_divisor)

    def _starts(self, sealed: int, reasons: list[str]) -> Iterator[Start]:
        """Every place to begin, the best first; why the others are none goes into `reasons`."""
        for checkpoint in reversed(self.checkpoints.all()):
            reason = self._refusal(checkpoint, sealed)
            if reason is None:
                yield Start(checkpoint.step, checkpoint.folder)
            else:
                reasons.append(reason)
        first = self._beginning(reasons)
        if first is not None and (reason := self._gap(first.step, sealed)) is None:
            yield first
        elif first is not None:
            reasons.append(str(reason))

    def _refusal(self, checkpoint: Checkpoint, sealed: int) -> str | None:
        """Why a checkpoint is no place to begin; None if it is one."""
        if (damage := self.checkpoints.refuse_damaged(checkpoint)) is not None:
            log.error("checkpoint_refused", reason=damage)
            return damage
        run = read_manifest(checkpoint.folder).get("run", self.run)
        if run != self.run:
            return f"{checkpoint.folder} is of the run {run}, this is {self.run}"
        if checkpoint.step > sealed:
            return f"{checkpoint.folder} is ahead of the ledger, which knows {sealed} steps"
        return self._gap(checkpoint.step, sealed)

    def _beginning(self, reasons: list[str]) -> Start | None:
        """What the run began from."""
        if self.origin is None:
            return Start(0, None)
        try:
            return Start(int(str(verify(self.origin)["step"])), self.origin)
        except CheckpointError as error:
            reasons.append(str(error))
            return None

    def _gap(self, step: int, sealed: int) -> str | None:
        """Why the run cannot go on from `step`; None if every later step has its journal."""
        missing = sorted(set(range(step + 1, sealed + 1)) - set(list_steps(self.journal)))
        return f"from step {step} the journal would be needed of step {missing[0]}" if missing else None


def _named(start: Start) -> str:
    return str(start.folder or "the initial model")
