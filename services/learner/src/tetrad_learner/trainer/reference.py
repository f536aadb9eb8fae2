"""The reference: the model that the divergence is measured from, and when it becomes a newer policy.

Owns when it moves. Must not know what its log-probabilities are used for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tetrad_learner.trainer.policy import Policy, named_weights


class Reference:
    """A frozen policy that stays as it is, or follows the trained one from interval to interval.

    With adapters it is the trained policy itself: its base is frozen, and shows once they are off.
    """

    def __init__(self, model: Policy, *, interval: int) -> None:
        self.model = model
        self._interval = interval
        self.num_moves = 0

    @property
    def is_moving(self) -> bool:
        """Whether it ever changes; a checkpoint has to hold it then."""
        return self._interval > 0

    @contextmanager
    def in_force(self) -> Iterator[Policy]:
        """Within the body, the yielded policy answers as the reference."""
        if self.model.adapters is None:
            yield self.model
        else:
            with self.model.adapters.off():
                yield self.model

    def catch_up(self, policy: Policy, *, step: int) -> None:
        """Become the policy as it is before `step`, where an interval has ended since the last time.

        An interval that ended with a step that was skipped has ended all the same.
        """
        due = (step - 1) // self._interval if self.is_moving else 0
        if due > self.num_moves:
            self.num_moves = due
            copy_weights(policy, self.model)

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the live weights."""
        yield from named_weights(self.model)


@torch.no_grad()
def copy_weights(source: Policy, target: Policy) -> None:
    """Copy weights between two policies of one architecture, shard by shard."""
    for (_name, theirs), (_same, ours) in zip(named_weights(source), named_weights(target), strict=True):
        ours.copy_(theirs)
