"""However a batch lies on two ranks, every token gets the same advantage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import Tensor

from tetrad_algorithms.advantages import (
    AdvantageOptions,
    Advantages,
    GrpoSingleton,
    Outcomes,
    SumOverRanks,
    estimators,
    normalize_over_batch,
)

LENGTHS = (3, 1, 7, 2, 5, 4)
SPLITS = [((0, 1, 2), (3, 4, 5)), ((5, 0), (3, 1, 4, 2)), ((0, 1, 2, 3, 4, 5), ()), ((), (2, 0, 1, 5, 4, 3))]
OPTIONS = AdvantageOptions(gamma=0.9, lambd=0.8, grpo_singleton=GrpoSingleton.RAW_REWARD)


class TwoRanks:
    """Two threads that meet in every sum, as two ranks do in an all-reduce."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2, timeout=10)
        self._parts: dict[int, Tensor] = {}

    def run(self, work: Callable[[int, SumOverRanks], Tensor]) -> list[Tensor]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda rank: work(rank, partial(self._sum, rank)), range(2)))

    def _sum(self, rank: int, values: Tensor) -> Tensor:
        self._parts[rank] = values
        self._barrier.wait()
        total = self._parts[0] + self._parts[1]
        self._barrier.wait()
        return total


def tokens_of(samples: Sequence[int]) -> Tensor:
    """Index of each trained token of some samples in the whole batch."""
    start = [sum(LENGTHS[:sample]) for sample in range(len(LENGTHS))]
    return torch.tensor([start[s] + t for s in samples for t in range(LENGTHS[s])], dtype=torch.int64)


def a_part(samples: Sequence[int], sum_over_ranks: SumOverRanks = lambda values: values) -> Outcomes:
    random = torch.Generator().manual_seed(3)
    rewards_N = torch.rand(len(LENGTHS), generator=random, dtype=torch.float64)
    values_T = torch.randn(sum(LENGTHS), generator=random, dtype=torch.float64)
    token_rewards_T = torch.randn(sum(LENGTHS), generator=random, dtype=torch.float64)
    index_T = tokens_of(samples)
    return Outcomes(
        rewards_N=rewards_N,
        group_N=torch.tensor([0, 1, 0, 1, 2, 1]),
        sample_T=torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))[index_T],
        values_T=values_T[index_T],
        token_rewards_T=token_rewards_T[index_T],
        sum_over_ranks=sum_over_ranks,
    )


def together(parts: Sequence[Tensor], split: Sequence[Sequence[int]]) -> Tensor:
    whole_T = torch.zeros(sum(LENGTHS), dtype=torch.float64)
    for part, samples in zip(parts, split, strict=True):
        whole_T[tokens_of(samples)] = part
    return whole_T


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", estimators.names())
def test_an_advantage_does_not_depend_on_the_rank(name: str, split: tuple[tuple[int, ...], ...]) -> None:
    def of(outcomes: Outcomes) -> Advantages:
        return estimators.get(name)(outcomes, OPTIONS)

    parts = TwoRanks().run(lambda rank, sum_over_ranks: of(a_part(split[rank], sum_over_ranks)).token_T)

    torch.testing.assert_close(together(parts, split), of(a_part(range(6))).token_T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("split", SPLITS)
def test_normalization_does_not_depend_on_the_rank(split: tuple[tuple[int, ...], ...]) -> None:
    token_T = torch.randn(sum(LENGTHS), generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    parts = TwoRanks().run(
        lambda rank, sum_over_ranks: normalize_over_batch(
            token_T[tokens_of(split[rank])], sum_over_ranks=sum_over_ranks
        )
    )

    alone = normalize_over_batch(token_T, sum_over_ranks=lambda values: values)
    torch.testing.assert_close(together(parts, split), alone, rtol=0, atol=1e-12)


def test_all_estimators_of_the_run_file_are_registered() -> None:
    assert estimators.names() == ("gae", "grpo", "maxrl", "reinforce++", "rloo")
