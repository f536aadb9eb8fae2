"""What can go wrong in a trainer rank, by whose fault it is."""

from __future__ import annotations


class BatchError(ValueError):
    """The batch contradicts itself; whoever built it is at fault."""


class UnsupportedModelError(ValueError):
    """The model folder holds something that the trainer would train wrongly."""


class AdapterError(ValueError):
    """The adapters that were asked for do not fit the model."""


class CheckpointError(ValueError):
    """The folder is no checkpoint of this model."""


class RankDisagreementError(RuntimeError):
    """The ranks were handed different steps; nothing was computed."""


class MemoryShortError(RuntimeError):
    """Memory ran out in a micro-batch, and this rank cannot help itself."""

    def __init__(self, reason: str, *, shrink_by: int, what: str) -> None:
        """`what` is the kind of pass, train or forward; where `shrink_by` is 0 its micro-batches are single samples."""
        left = "smaller micro-batches may fit" if shrink_by else "each micro-batch is a single sample already"
        super().__init__(f"out of memory in a {what} pass, and {left}: {reason}")
        self.shrink_by = shrink_by


class NonFiniteError(ArithmeticError):
    """The step gave NaN or infinity: it is poisoned and must not be executed again as it is.

    Raised on every rank at once and before the optimizer applies it. Weights may hold earlier mini-batches of the
    same step; discard the process and reload the last checkpoint.
    """

    def __init__(
        self,
        *,
        what: str,
        value: float,
        step: int,
        mini_batch: int,
        loss: float | None = None,
        gradient_norm: float | None = None,
    ) -> None:
        where = f"step {step}, mini-batch {mini_batch}" if mini_batch >= 0 else f"step {step}"
        super().__init__(f"{what} is {value} in {where}; the step is poisoned")
        self.what, self.value, self.step, self.mini_batch = what, value, step, mini_batch
        self.loss, self.gradient_norm = loss, gradient_norm
