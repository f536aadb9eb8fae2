"""Which tokens the covariance losses choose: against numpy, and independent of how the mini-batch lies over ranks."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from tetrad_algorithms.losses import LossOptions, PolicyTokens, SelectionInputs, clip_cov, selections

OPTIONS = LossOptions(clip_cov_ratio=0.1, clip_cov_lb=0.2, clip_cov_ub=1.0, kl_cov_frac=0.2)
NUM_TOKENS = 90


def drawn(seed: int = 0) -> SelectionInputs:
    draw = np.random.default_rng(seed)
    return SelectionInputs(
        logprobs_T=torch.tensor(-3 * draw.random(NUM_TOKENS)),
        advantages_T=torch.tensor(draw.standard_normal(NUM_TOKENS)),
        sample_T=torch.arange(NUM_TOKENS) // 10,
        position_T=torch.arange(NUM_TOKENS) % 10,
        seed=seed,
    )


def covariance(inputs: SelectionInputs) -> np.ndarray:
    advantages, logprobs = inputs.advantages_T.numpy(), inputs.logprobs_T.numpy()
    return (advantages - advantages.mean()) * (logprobs - logprobs.mean())


@pytest.mark.parametrize("seed", range(5))
def test_kl_cov_chooses_the_largest_covariances(seed: int) -> None:
    inputs = drawn(seed)

    chosen = selections.get("kl_cov")(inputs, OPTIONS)

    assert set(torch.nonzero(chosen).flatten().tolist()) == set(np.argsort(-covariance(inputs))[:18].tolist())


@pytest.mark.parametrize("seed", range(5))
def test_clip_cov_chooses_its_share_among_the_candidates(seed: int) -> None:
    inputs = drawn(seed)
    candidates = set(np.flatnonzero((covariance(inputs) > 0.2) & (covariance(inputs) < 1.0)).tolist())

    chosen = set(torch.nonzero(selections.get("clip_cov")(inputs, OPTIONS)).flatten().tolist())

    assert len(chosen) == min(9, len(candidates))
    assert chosen <= candidates


def test_clip_cov_chooses_others_with_another_seed() -> None:
    inputs = drawn()

    first = selections.get("clip_cov")(inputs, OPTIONS)
    other = selections.get("clip_cov")(dataclasses.replace(inputs, seed=1), OPTIONS)

    assert not torch.equal(first, other)


def test_at_least_one_token_is_chosen() -> None:
    options = LossOptions(kl_cov_frac=1e-9, clip_cov_ratio=1e-9, clip_cov_lb=-9.0, clip_cov_ub=9.0)

    assert [int(selections.get(name)(drawn(), options).sum()) for name in ("kl_cov", "clip_cov")] == [1, 1]


def test_equal_covariances_are_settled_alike_and_no_more_than_the_share_is_chosen() -> None:
    flat = dataclasses.replace(drawn(), advantages_T=torch.zeros(NUM_TOKENS))

    first, again = (selections.get("kl_cov")(flat, OPTIONS) for _ in range(2))

    assert int(first.sum()) == 18
    assert torch.equal(first, again)


class Gathering:
    """Concatenates what two threads bring, as ranks would."""

    def __init__(self) -> None:
        self._parts: dict[int, Tensor] = {}
        self._barrier = threading.Barrier(2, timeout=20)

    def of_rank(self, rank: int, own: Tensor) -> Tensor:
        self._parts[rank] = own
        self._barrier.wait()
        whole = torch.cat([self._parts[0], self._parts[1]])
        self._barrier.wait()
        return whole


@pytest.mark.parametrize("name", ["kl_cov", "clip_cov"])
@pytest.mark.parametrize("cut", [0, 30, 70, NUM_TOKENS])
def test_the_choice_does_not_depend_on_the_rank_that_holds_a_token(name: str, cut: int) -> None:
    whole, gathering = drawn(), Gathering()
    order = torch.randperm(NUM_TOKENS, generator=torch.Generator().manual_seed(1))
    shares = (order[:cut], order[cut:])

    def choose(rank: int) -> Tensor:
        mine = shares[rank]
        part = {name: getattr(whole, name)[mine] for name in ("logprobs_T", "advantages_T", "sample_T", "position_T")}
        inputs = SelectionInputs(**part, seed=whole.seed, gather=lambda own: gathering.of_rank(rank, own))
        return selections.get(name)(inputs, OPTIONS)

    with ThreadPoolExecutor(2) as pool:
        found = torch.cat(list(pool.map(choose, (0, 1))))

    assert torch.equal(found, selections.get(name)(whole, OPTIONS)[order])


def test_without_a_choice_the_loss_refuses() -> None:
    nothing = torch.zeros(1)
    tokens = PolicyTokens(
        learner_logprobs_T=nothing,
        old_logprobs_T=nothing,
        rollout_logprobs_T=nothing,
        advantages_T=nothing,
        sample_T=nothing,
    )

    with pytest.raises(ValueError, match="selection"):
        clip_cov(tokens, OPTIONS)
