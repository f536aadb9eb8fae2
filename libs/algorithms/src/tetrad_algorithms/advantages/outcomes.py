"""Outcomes and advantages: what every estimator is given, and what it returns.

Owns both types, the options and the registry of estimators. Sees the rewards of *all* samples of the step, so that a
group may be spread over ranks; must not know of models, ranks or mini-batches.
"""

# N samples of the step, on all ranks · T trained tokens of this rank

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from torch import Tensor

from tetrad_algorithms.registry import Registry

# Added to the deviation; SkyRL and verl use the same, TRL 1e-4.
STD_EPSILON: Final = 1e-6


class GrpoStd(StrEnum):
    """By what GRPO divides: the deviation over n − 1, over n, or nothing (Dr. GRPO)."""

    SAMPLE = "sample"
    POPULATION = "population"
    NONE = "none"


class GrpoSingleton(StrEnum):
    """What a sample gets that is alone in its group."""

    ZERO = "zero"
    """Nothing: there is nothing to compare it with."""
    RAW_REWARD = "raw_reward"
    """Its reward, as in SkyRL."""


SumOverRanks = Callable[[Tensor], Tensor]
"""Returns the elementwise sum over all ranks, equal on all; collective: every rank calls it equally often."""


def identity(values: Tensor) -> Tensor:
    """Return the values: what summing over a single rank does."""
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What an estimator may look at."""

    rewards_N: Tensor
    """float[N]: total reward of each sample of the step on all ranks, after any KL penalty."""
    group_N: Tensor
    """int64[N]: samples with equal numbers answer the same draw; the numbers themselves mean nothing."""
    sample_T: Tensor
    """int64[T]: to which sample (index into N) each trained token of this rank belongs; samples are whole and their
    tokens adjacent and in order, without the observations between them."""
    token_rewards_T: Tensor | None = None
    """float64[T]: reward of each trained token; None: the whole reward is on the sample's last trained token."""
    values_T: Tensor | None = None
    """float[T]: the critic's value of the state before each trained token; None without a critic."""
    sum_over_ranks: SumOverRanks = identity
    """How statistics over the tokens of all ranks are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageOptions:
    """Settings of the estimators; each reads its own."""

    grpo_std: GrpoStd = GrpoStd.SAMPLE
    """Deviation by which `grpo` divides."""
    grpo_std_epsilon: float = STD_EPSILON
    """Added to that deviation."""
    grpo_singleton: GrpoSingleton = GrpoSingleton.ZERO
    """What a group of one gets from `grpo` and `maxrl`."""
    gamma: float = 1.0
    """Discount per trained token of `gae` and `reinforce++`."""
    lambd: float = 1.0
    """Lambda of `gae`: 1 trusts the rewards, 0 the critic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantages:
    """What an estimator returns, and what deserves a warning."""

    token_T: Tensor
    """float64[T]: advantage of each trained token of this rank; no gradient."""
    returns_T: Tensor | None = None
    """float64[T]: what the critic should have said before each trained token; None without a critic."""
    singleton_groups: int = 0
    """Samples (tokens, where the batch is whitened) with nothing to compare with. More than none deserves a loud
    warning."""
    flat_groups: int = 0
    """Groups of two or more whose rewards are all equal: they teach nothing."""


Estimator = Callable[[Outcomes, AdvantageOptions], Advantages]


def guarded(estimator: Estimator, name: str) -> Estimator:
    """Return somebody else's estimator with its result checked: a wrong shape would be broadcast, and train nonsense.

    The checked one raises ValueError with the name and both shapes.
    """

    def checked(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:
        found = estimator(outcomes, options)
        if not isinstance(found, Advantages):
            raise ValueError(  # noqa: TRY004  # the run file names it: the user's error
                f"estimator {name!r} returned {type(found).__name__}; it must return Advantages"
            )
        returns_T = None if found.returns_T is None else _like(found.returns_T, outcomes, f"{name!r}: returns_T")
        return replace(found, token_T=_like(found.token_T, outcomes, f"{name!r}: token_T"), returns_T=returns_T)

    return checked


def _like(found_T: Tensor, outcomes: Outcomes, what: str) -> Tensor:
    if found_T.shape != outcomes.sample_T.shape:
        raise ValueError(
            f"estimator {what} has shape {tuple(found_T.shape)}; one number for each of the "
            f"{len(outcomes.sample_T)} trained tokens is needed"
        )
    return found_T.detach().double()


estimators: Registry[Estimator] = Registry("trainer.algorithm.advantage_estimator", guard=guarded)
