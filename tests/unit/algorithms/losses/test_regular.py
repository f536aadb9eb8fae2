"""The clipped loss against a textbook loop and against finite differences."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tetrad_algorithms.losses import LossOptions, PolicyTokens, policy_losses, ratio, regular

OPTIONS = LossOptions(eps_clip_low=0.2, eps_clip_high=0.28)


def tokens(logprobs: Tensor, old: Tensor, advantages: Tensor) -> PolicyTokens:
    return PolicyTokens(
        learner_logprobs_T=logprobs,
        old_logprobs_T=old,
        rollout_logprobs_T=old,
        advantages_T=advantages,
        sample_T=torch.zeros(len(old), dtype=torch.int64),
    )


def drawn(count: int = 64, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(count, dtype=dtype, generator=generator) * 3
    logprobs = old + 0.5 * torch.randn(count, dtype=dtype, generator=generator)
    return logprobs, old, torch.randn(count, dtype=dtype, generator=generator)


def test_regular_equals_the_textbook_loop() -> None:
    logprobs, old, advantages = drawn()

    found = policy_losses.get("regular")(tokens(logprobs, old, advantages), OPTIONS)

    for i, (now, before, advantage) in enumerate(zip(logprobs, old, advantages, strict=True)):
        rho = math.exp(float(now) - float(before))
        clipped = min(max(rho, 0.8), 1.28)
        expected = -min(rho * float(advantage), clipped * float(advantage))
        assert math.isclose(found.loss_T[i], expected, rel_tol=1e-12)
        assert bool(found.is_clipped_T[i]) == (clipped * float(advantage) < rho * float(advantage))


def test_regular_has_the_gradient_of_finite_differences() -> None:
    logprobs, old, advantages = drawn()

    assert torch.autograd.gradcheck(
        lambda x: regular(tokens(x, old, advantages), OPTIONS).loss_T, logprobs.requires_grad_()
    )


def test_a_clipped_token_has_no_gradient() -> None:
    logprobs = torch.tensor([1.0, -1.0], requires_grad=True)  # ratios e and 1/e

    found = regular(tokens(logprobs, torch.zeros(2), torch.tensor([1.0, -1.0])), OPTIONS)
    found.loss_T.sum().backward()

    assert found.is_clipped_T.tolist() == [True, True]
    assert logprobs.grad.tolist() == [0.0, 0.0]


def test_at_a_ratio_of_one_the_gradient_is_minus_the_advantage() -> None:
    logprobs, _, advantages = drawn()
    logprobs.requires_grad_()

    regular(tokens(logprobs, logprobs.detach(), advantages), OPTIONS).loss_T.sum().backward()

    torch.testing.assert_close(logprobs.grad, -advantages)


def test_an_absurd_ratio_stays_finite() -> None:
    assert ratio(torch.tensor([500.0]), torch.tensor([-500.0])).isfinite().all()
