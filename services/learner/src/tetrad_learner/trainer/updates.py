"""One optimizer step at the end of a mini-batch, with the proof that loss and gradient are finite."""

from __future__ import annotations

import math

from tetrad_learner.trainer.errors import NonFiniteError
from tetrad_learner.trainer.optimizer import PolicyOptimizer


def update(optimizer: PolicyOptimizer, *, loss: float, whose: str, step: int, mini_batch: int) -> dict[str, float]:
    """Apply the accumulated gradient; return its norm and the learning rate. `whose` is `""` or `"critic "`.

    Raises NonFiniteError before anything that is not finite is applied; collective.
    """
    gradient = optimizer.measure()
    for what, value in (("loss", loss), ("gradient norm", gradient.norm)):
        if not math.isfinite(value):
            raise NonFiniteError(
                what=f"{whose}{what}",
                value=value,
                step=step,
                mini_batch=mini_batch,
                loss=loss,
                gradient_norm=gradient.norm,
            )
    lr = optimizer.lr
    optimizer.apply(gradient)
    return {"grad_norm": gradient.norm, "lr": lr}
