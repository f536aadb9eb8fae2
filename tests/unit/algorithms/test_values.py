"""The critic's loss and what its values explain, against numpy."""

import numpy as np
import pytest
import torch

from tetrad_algorithms.values import explained_variance, value_loss


def arrays(seed, *, size=40):
    rng = np.random.default_rng(seed)
    return rng.normal(size=size), rng.normal(size=size), rng.normal(size=size)


def oracle(values, old, returns, clip):
    losses, clipped = [], []
    for v, o, r in zip(values, old, returns, strict=True):
        near = min(max(v, o - clip), o + clip)
        losses.append(max((v - r) ** 2, (near - r) ** 2) / 2)
        clipped.append((near - r) ** 2 > (v - r) ** 2)
    return np.array(losses), np.array(clipped)


@pytest.mark.parametrize("seed", range(4))
def test_the_value_loss_is_that_of_the_textbook_loop(seed):
    values, old, returns = arrays(seed)

    found = value_loss(*(torch.from_numpy(a) for a in (values, old, returns)), clip=0.3)

    losses, clipped = oracle(values, old, returns, 0.3)
    np.testing.assert_allclose(found.loss_T.numpy(), losses, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.is_clipped_T.numpy(), clipped)


def test_the_gradient_is_that_of_finite_differences():
    values, old, returns = (torch.from_numpy(a) for a in arrays(7, size=12))

    assert torch.autograd.gradcheck(lambda v: value_loss(v, old, returns, clip=0.3).loss_T, values.requires_grad_())


def test_a_value_that_was_clipped_has_no_gradient():
    value = torch.tensor([0.5], requires_grad=True)

    value_loss(value, torch.tensor([0.0]), torch.tensor([1.0]), clip=0.2).loss_T.sum().backward()

    assert value.grad is not None
    assert value.grad.item() == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_explained_variance_is_one_less_the_share_that_is_left(seed):
    values, _, returns = arrays(seed)

    found = explained_variance(torch.from_numpy(values), torch.from_numpy(returns), sum_over_ranks=lambda sums: sums)

    assert found == pytest.approx(1 - np.var(returns - values) / np.var(returns), abs=1e-12)


@pytest.mark.parametrize("returns", [[], [2.0, 2.0]])
def test_returns_that_do_not_differ_have_nothing_to_explain(returns):
    returns = torch.tensor(returns)

    assert explained_variance(torch.zeros_like(returns), returns, sum_over_ranks=lambda sums: sums) == 0.0
