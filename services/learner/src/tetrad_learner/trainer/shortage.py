"""When memory does not suffice: the same work again with smaller micro-batches, or an error that says what was tried.

The loss divides by counts of the whole mini-batch, so its gradient does not depend on how that is cut: a mini-batch
that is begun again with smaller micro-batches gives what it would have given with these from the start. A rank that
is alone begins again by itself. Of several, the others wait within a collective: all of them must start anew.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from tetrad_learner.trainer.errors import MemoryShortError
from tetrad_learner.trainer.plan import Plan
from tetrad_learner.trainer.ranks import Ranks

T = TypeVar("T")

# What torch and cuBLAS say where they have no error of their own for it.
_SAID: Final = ("DefaultCPUAllocator: can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class Pass(StrEnum):
    """The kinds of passes whose micro-batches have a size of their own."""

    TRAIN = "train"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """One time that micro-batches were made smaller."""

    of: Pass
    counts_tokens: bool
    """Whether the sizes are tokens; else they are samples."""
    before: int
    after: int
    reason: str
    """What torch said."""


def is_shortage(error: BaseException) -> bool:
    """Whether torch found no memory: on a GPU by an error of its own, else by its words."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


class Shortage:
    """Does a step's work, and does it again where memory ran out."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.lowered: list[Lowered] = []
        """What was made smaller since somebody last took them."""

    def take(self) -> tuple[Lowered, ...]:
        """Return what was made smaller, once."""
        taken, self.lowered = tuple(self.lowered), []
        return taken

    def bear(
        self,
        work: Callable[[], T],
        *,
        model: nn.Module,
        plan: Plan,
        of: Pass,
        forget: Callable[[], None] = lambda: None,
    ) -> T:
        """Return what `work` does with the model and the plan; where memory runs out, cut smaller and do it again.

        `forget` undoes what the model has accumulated by then. Raises MemoryShortError where micro-batches cannot be
        made smaller, or not by this rank alone.
        """
        chance = _chance(self._ranks.device)
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not is_shortage(error):
                    raise
                reason, limit = str(error).partition("\n")[0], plan.size.limit
                lowered = plan.size.lower(plan.all)
                if lowered is None:
                    raise MemoryShortError(reason, shrink_by=0, what=of.value) from error
                if not self._can_begin_again:
                    raise MemoryShortError(reason, shrink_by=-(-limit // plan.size.limit), what=of.value) from error
            # Outside of the handler: the error holds the frames, and these hold what the passes had computed.
            before, after = lowered
            self.lowered.append(
                Lowered(of=of, counts_tokens=plan.size.counts_tokens, before=before, after=after, reason=reason)
            )
            self._clear(model)
            forget()
            _restore(chance, self._ranks.device)
            plan.cut_again()

    @property
    def _can_begin_again(self) -> bool:
        # Older releases of torch leave a sharded model as the error found it.
        return self._ranks.world_size == 1 and hasattr(FSDPModule, "reset_iter_state")

    def _clear(self, model: nn.Module) -> None:
        if isinstance(model, FSDPModule):
            model.reset_iter_state()
        gc.collect()
        if self._ranks.device.type == "cuda":
            torch.cuda.empty_cache()


def _chance(device: torch.device) -> list[Tensor]:
    """The state of the random generators that dropout draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _restore(chance: Sequence[Tensor], device: torch.device) -> None:
    torch.set_rng_state(chance[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(chance[1], device)
