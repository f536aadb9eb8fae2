"""KL control: the coefficient of the divergence in the reward, fixed or steered to a target.

Pure values: a controller is never changed, it is followed by another. All of its state is `coef`, which belongs into
checkpoints. Must not know how the divergence is estimated.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Final

# Farthest that one step may be from the target, relative to it, in Ziegler et al.
MAX_RELATIVE_ERROR: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedKl:
    """A coefficient that stays."""

    coef: float
    """Weight of one nat of divergence in the reward."""

    def __post_init__(self) -> None:
        _check_coefficient(self.coef)

    def updated(self, kl: float, *, num_samples: int) -> FixedKl:
        """Return the controller of the next step: this one."""
        del kl, num_samples
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveKl:
    """A coefficient that grows while the divergence is above its target and shrinks while it is below.

    Fine-Tuning Language Models from Human Preferences (Ziegler et al., arXiv:1909.08593, §2.2), with the rate of its
    code, number of samples / horizon: e = clip(KL / target − 1, ±0.2), coef ← coef · (1 + e · samples / horizon).

    Twice the target is far off, so it counts as 0.2 too much:

    >>> AdaptiveKl(coef=0.5, target=0.25, horizon=1000).updated(0.5, num_samples=100)
    AdaptiveKl(coef=0.51, target=0.25, horizon=1000)
    """

    coef: float
    """Weight of one nat of divergence in the reward."""
    target: float
    """Divergence to be held, in nats, measured as the caller measures it."""
    horizon: int
    """Samples in which an error of 1 would double the coefficient."""

    def __post_init__(self) -> None:
        _check_coefficient(self.coef)
        if not (math.isfinite(self.target) and self.target > 0):
            raise ValueError(f"the KL target is {self.target}; it must be a number above 0")
        if self.horizon < 1:
            raise ValueError(f"the KL horizon is {self.horizon} samples; it must be at least 1")

    def updated(self, kl: float, *, num_samples: int) -> AdaptiveKl:
        """Return the controller of the next step, after one of `num_samples` samples with divergence `kl`."""
        if not math.isfinite(kl):
            raise ValueError(f"the divergence is {kl}; a coefficient cannot be steered by it")
        error = min(max(kl / self.target - 1, -MAX_RELATIVE_ERROR), MAX_RELATIVE_ERROR)
        # A step of more than five horizons would turn the sign around.
        factor = max(1 + error * num_samples / self.horizon, 0.0)
        return dataclasses.replace(self, coef=self.coef * factor)


KlControl = FixedKl | AdaptiveKl


def _check_coefficient(coef: float) -> None:
    if not (math.isfinite(coef) and coef >= 0):
        raise ValueError(f"the KL coefficient is {coef}; it must be a number of 0 or more")
