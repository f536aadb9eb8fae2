"""What the ranks of a replay are told, and what they answer: plain files, so that nobody needs a socket.

Owns both formats. Knows neither torch nor a ledger.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Which steps to execute, from what."""

    config: str
    """The resolved run file."""
    journal: str
    """Folder of the batches."""
    load: str = ""
    """Checkpoint folder to begin from; empty is the initial model."""
    steps: tuple[int, ...]
    """Training steps to execute, in order; the last is the one that is looked at."""
    dump: str = ""
    """Dump of a poisoned step, in place of the journal's batch of the last step."""
    num_steps: int
    """Training steps of the whole run: where a learning rate that falls ends."""
    steps_per_epoch: int = 0
    """Training steps of one pass over the data: how often a reference that moves does."""
    world_size: int

    @property
    def summary(self) -> str:
        """What is about to happen, for people."""
        ranks = f"{self.world_size} rank" + ("" if self.world_size == 1 else "s")
        steps = f"step {self.steps[0]}" if len(self.steps) == 1 else f"steps {self.steps[0]} to {self.steps[-1]}"
        return f"replaying {steps} on {ranks} from {self.load or 'the initial model'}"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A step that gave a number that is not finite."""

    step: int
    error: str
    loss: float | None = None
    """Of the mini-batch; None where the step failed before there was one."""
    gradient_norm: float | None = None
    """The same."""
    module: str = ""
    """First module, in the order of computation, whose output was not finite; empty if none was."""
    tensors: tuple[str, ...] = ()
    """Weights and gradients that were not finite, in the model's order."""


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """What the last step came to, by rank 0."""

    metrics: dict[str, float] = {}
    digest: str = ""
    """Of the weights after it, as engines would get them."""
    failure: Failure | None = None


def write(path: Path, body: msgspec.Struct) -> None:
    """Write a job or an answer."""
    path.write_bytes(msgspec.msgpack.encode(body))


def read_job(path: Path) -> Job:
    """Read a job."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Job)


def read_executed(path: Path) -> Executed:
    """Read an answer."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Executed)
