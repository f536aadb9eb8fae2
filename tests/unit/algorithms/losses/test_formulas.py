"""Every loss against plain numpy, one token after the other, and against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from tetrad_algorithms.losses import LossOptions, PolicyTokens, policy_losses

OPTIONS = LossOptions(eps_clip_low=0.2, eps_clip_high=0.28, cispo_eps_clip_low=0.3, cispo_eps_clip_high=0.4)
NUM_TOKENS = 60


def drawn(seed: int, *, spread: float = 0.5) -> PolicyTokens:
    """Samples of 1 to 9 tokens, in no order of their numbers."""
    draw = np.random.default_rng(seed)
    lengths = [1, *draw.integers(1, 10, size=40).tolist()]
    sample = np.repeat(draw.permutation(len(lengths)), lengths)[:NUM_TOKENS]
    old = -3 * draw.random(NUM_TOKENS)
    return PolicyTokens(
        learner_logprobs_T=torch.tensor(old + spread * draw.standard_normal(NUM_TOKENS)),
        old_logprobs_T=torch.tensor(old),
        rollout_logprobs_T=torch.tensor(old + 0.2 * draw.standard_normal(NUM_TOKENS)),
        advantages_T=torch.tensor(draw.standard_normal(NUM_TOKENS)),
        sample_T=torch.tensor(sample),
        selected_T=torch.tensor(draw.random(NUM_TOKENS) < 0.3),
    )


class Token:
    """What the oracles know of one token; numbers only."""

    def __init__(self, tokens: PolicyTokens, t: int) -> None:
        self.now, self.old = float(tokens.learner_logprobs_T[t]), float(tokens.old_logprobs_T[t])
        self.rollout, self.advantage = float(tokens.rollout_logprobs_T[t]), float(tokens.advantages_T[t])
        self.is_selected = bool(tokens.selected_T[t])
        mates = [i for i in range(len(tokens.sample_T)) if tokens.sample_T[i] == tokens.sample_T[t]]
        self.sequence_ratio = math.exp(
            np.mean([float(tokens.learner_logprobs_T[i] - tokens.old_logprobs_T[i]) for i in mates])
        )
        self.ratio = math.exp(self.now - self.old)


def ppo(ratio: float, advantage: float) -> float:
    return -min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)


def dual_clip(x: Token) -> float:
    once = ppo(x.ratio, x.advantage)
    return min(-3.0 * x.advantage, once) if x.advantage < 0 else once


def sapo(x: Token) -> float:
    tau = 1.0 if x.advantage > 0 else 1.05
    return -x.advantage * 4 / tau / (1 + math.exp(-tau * (x.ratio - 1)))


def rollout_is(x: Token) -> float:
    ratio = math.exp(x.now - x.rollout)
    return -x.advantage * ratio * x.now if 0.8 < ratio < 1.28 else 0.0


ORACLES: Mapping[str, Callable[[Token], float]] = {
    "regular": lambda x: ppo(x.ratio, x.advantage),
    "dual_clip": dual_clip,
    "gspo": lambda x: ppo(x.sequence_ratio, x.advantage),
    "cispo": lambda x: -x.advantage * min(max(x.ratio, 0.7), 1.4) * x.now,
    "sapo": sapo,
    "clip_cov": lambda x: 0.0 if x.is_selected else ppo(x.ratio, x.advantage),
    "kl_cov": lambda x: -x.ratio * x.advantage + (abs(x.now - x.old) if x.is_selected else 0.0),
    "importance_sampling": lambda x: -x.ratio * x.advantage,
    "rollout_is": rollout_is,
}


def test_every_registered_loss_has_an_oracle() -> None:
    assert set(policy_losses.names()) == set(ORACLES)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("seed", range(5))
def test_a_loss_equals_its_formula_token_by_token(name: str, seed: int) -> None:
    tokens = drawn(seed)

    found_T = policy_losses.get(name)(tokens, OPTIONS).loss_T

    expected = [ORACLES[name](Token(tokens, t)) for t in range(NUM_TOKENS)]
    np.testing.assert_allclose(found_T.numpy(), expected, rtol=1e-12, atol=1e-15)


def with_logprobs(tokens: PolicyTokens, learner_T: Tensor) -> PolicyTokens:
    fields = {name: getattr(tokens, name) for name in PolicyTokens.__dataclass_fields__}
    return PolicyTokens(**fields | {"learner_logprobs_T": learner_T})


@pytest.mark.parametrize("name", ["regular", "dual_clip", "sapo", "clip_cov", "kl_cov", "importance_sampling"])
def test_a_gradient_equals_finite_differences(name: str) -> None:
    tokens = drawn(0)

    assert torch.autograd.gradcheck(
        lambda x: policy_losses.get(name)(with_logprobs(tokens, x), OPTIONS).loss_T,
        tokens.learner_logprobs_T.clone().requires_grad_(),
    )


def gradient(name: str, tokens: PolicyTokens) -> tuple[Tensor, Tensor]:
    learner_T = tokens.learner_logprobs_T.clone().requires_grad_()
    found = policy_losses.get(name)(with_logprobs(tokens, learner_T), OPTIONS)
    found.loss_T.sum().backward()
    assert learner_T.grad is not None
    return learner_T.grad, found.is_clipped_T


def test_gspo_s_gradient_is_the_token_s_own() -> None:
    # GSPO-token, eq. 14: the gradient of s · A by one token's log-probability is s · A, not s · A / length.
    tokens = drawn(1, spread=0.05)
    expected = [-Token(tokens, t).sequence_ratio * Token(tokens, t).advantage for t in range(NUM_TOKENS)]

    found_T, is_clipped_T = gradient("gspo", tokens)

    assert not is_clipped_T.any()
    np.testing.assert_allclose(found_T.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "low", "high"), [("cispo", 0.7, 1.4)])
def test_cispo_s_gradient_is_the_detached_weight_for_every_token(name: str, low: float, high: float) -> None:
    tokens = drawn(2)
    each = [Token(tokens, t) for t in range(NUM_TOKENS)]

    found_T, _ = gradient(name, tokens)

    np.testing.assert_allclose(found_T.numpy(), [-x.advantage * min(max(x.ratio, low), high) for x in each], rtol=1e-12)


def test_rollout_is_has_no_gradient_outside_its_range() -> None:
    found_T, is_clipped_T = gradient("rollout_is", drawn(3))

    assert is_clipped_T.any()
    assert not is_clipped_T.all()
    assert torch.equal(found_T == 0, is_clipped_T)


@pytest.mark.parametrize("name", ORACLES)
def test_a_loss_does_not_depend_on_the_order_of_tokens(name: str) -> None:
    tokens = drawn(4)
    order = torch.randperm(NUM_TOKENS, generator=torch.Generator().manual_seed(0))
    fields = {field: getattr(tokens, field)[order] for field in PolicyTokens.__dataclass_fields__}

    found_T = policy_losses.get(name)(PolicyTokens(**fields), OPTIONS).loss_T

    torch.testing.assert_close(found_T, policy_losses.get(name)(tokens, OPTIONS).loss_T[order], rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ORACLES)
def test_a_loss_of_absurd_ratios_and_its_gradient_stay_finite(name: str) -> None:
    tokens = PolicyTokens(
        learner_logprobs_T=torch.tensor([-1e-6, -700.0, -1.0]),
        old_logprobs_T=torch.tensor([-700.0, -1e-6, -1.0]),
        rollout_logprobs_T=torch.tensor([-700.0, -1e-6, -1.0]),
        advantages_T=torch.tensor([1.0, -1.0, 0.0]),
        sample_T=torch.tensor([0, 1, 2]),
        selected_T=torch.tensor([True, False, True]),
    )

    found_T, _ = gradient(name, tokens)

    assert found_T.isfinite().all()
    assert policy_losses.get(name)(tokens, OPTIONS).loss_T.isfinite().all()


@pytest.mark.parametrize("name", ORACLES)
def test_a_rank_without_tokens_gets_an_empty_loss(name: str) -> None:
    nothing, none = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    tokens = PolicyTokens(
        learner_logprobs_T=nothing,
        old_logprobs_T=nothing,
        rollout_logprobs_T=nothing,
        advantages_T=nothing,
        sample_T=none,
        selected_T=none.bool(),
    )

    assert policy_losses.get(name)(tokens, OPTIONS).loss_T.shape == (0,)
