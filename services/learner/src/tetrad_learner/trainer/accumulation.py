"""Gradients that add up over the micro-batches of an optimizer step: what the ranks exchange, and when.

Owns that schedule. Must not know what the micro-batches are of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch import nn
from torch.distributed.fsdp import FSDPModule

from tetrad_learner.trainer.options import ShardingOptions
from tetrad_learner.trainer.ranks import Ranks

Item = TypeVar("Item")


class Accumulation:
    """Tells a sharded model which backward pass is the last before the optimizer's step."""

    def __init__(self, model: nn.Module, *, sharding: ShardingOptions, ranks: Ranks) -> None:
        self._model = model if isinstance(model, FSDPModule) else None
        # A lone rank has nobody to exchange gradients with. Of several, each would have to keep a whole gradient.
        self._is_put_off = ranks.world_size == 1 and not sharding.cpu_offload
        # Who keeps gathered parameters from forward to backward keeps them until they change.
        self._is_kept = not sharding.reshard_after_forward

    def over(self, micros: Sequence[Item]) -> Iterator[Item]:
        """Yield the micro-batches, each with the model ready for its backward pass."""
        for number, micro in enumerate(micros, start=1):
            self._prepare(is_last=number == len(micros))
            yield micro

    def _prepare(self, *, is_last: bool) -> None:
        if self._model is None:
            return
        if self._is_put_off:
            self._model.set_requires_gradient_sync(is_last)
        if self._is_kept:
            self._model.set_reshard_after_backward(is_last)
