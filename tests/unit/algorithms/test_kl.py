"""KL estimators against numpy, their gradients, and their clamps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tetrad_algorithms.kl import kl_estimators

ORACLES = {
    "k1": lambda d: d,
    "abs": np.abs,
    "k2": lambda d: d**2 / 2,
    "k3": lambda d: np.exp(-d) + d - 1,
}


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    learner, reference = -torch.rand(2, 50, dtype=torch.float64, generator=generator) * 2
    return learner, reference


@pytest.mark.parametrize("name", ORACLES)
def test_each_estimator_equals_its_formula(name: str) -> None:
    learner, reference = drawn()

    found = kl_estimators.get(name)(learner, reference).numpy()

    np.testing.assert_allclose(found, ORACLES[name]((learner - reference).numpy()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ORACLES)
def test_each_estimator_has_the_gradient_of_finite_differences(name: str) -> None:
    learner, reference = drawn()

    assert torch.autograd.gradcheck(lambda x: kl_estimators.get(name)(x, reference), learner.requires_grad_())
    assert learner.grad is None
    kl_estimators.get(name)(learner, reference).sum().backward()
    assert learner.grad.abs().max() > 0


def test_equal_policies_have_a_divergence_of_exactly_zero() -> None:
    learner, _ = drawn()

    for name in ORACLES:
        assert not kl_estimators.get(name)(learner, learner.clone()).any()


def test_k3_is_clamped_where_the_reference_finds_a_token_likely_and_the_policy_does_not() -> None:
    found = kl_estimators.get("k3")(torch.tensor([-100.0, -3.0]), torch.tensor([-0.1, -0.1]))

    assert found[0] == 10.0
    assert found.isfinite().all()


def test_the_mean_of_k3_estimates_the_divergence() -> None:
    generator = torch.Generator().manual_seed(2)
    p, q = (torch.randn(8, dtype=torch.float64, generator=generator).log_softmax(-1) for _ in range(2))
    sampled = torch.multinomial(p.exp(), 200_000, replacement=True, generator=generator)

    estimate = kl_estimators.get("k3")(p[sampled], q[sampled]).mean()

    assert float(estimate) == pytest.approx(float((p.exp() * (p - q)).sum()), rel=0.05)
