"""GAE against a loop over tokens, in its limits, and without a critic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tetrad_algorithms.advantages import AdvantageOptions, Outcomes, gae

LENGTHS = (4, 1, 9, 2)


def a_batch(seed: int = 0, *, rewards_by_token: bool = False) -> Outcomes:
    random = np.random.default_rng(seed)
    return Outcomes(
        rewards_N=torch.tensor(random.normal(size=len(LENGTHS))),
        group_N=torch.arange(len(LENGTHS)),
        sample_T=torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS)),
        token_rewards_T=torch.tensor(random.normal(size=sum(LENGTHS))) if rewards_by_token else None,
        values_T=torch.tensor(random.normal(size=sum(LENGTHS)), dtype=torch.float32),
    )


def oracle(batch: Outcomes, gamma: float, lambd: float) -> tuple[np.ndarray, np.ndarray]:
    """Advantages after whitening and returns before it, sample by sample, token by token from the end."""
    assert batch.values_T is not None
    advantages, returns, start = [], [], 0
    for sample, length in enumerate(LENGTHS):
        values = batch.values_T[start : start + length].double().numpy()
        if batch.token_rewards_T is None:
            rewards = np.zeros(length)
            rewards[-1] = float(batch.rewards_N[sample])
        else:
            rewards = batch.token_rewards_T[start : start + length].numpy()
        found, later, next_value = np.zeros(length), 0.0, 0.0
        for t in reversed(range(length)):
            later = rewards[t] + gamma * next_value - values[t] + gamma * lambd * later
            found[t], next_value = later, values[t]
        advantages.append(found)
        returns.append(found + values)
        start += length
    flat = np.concatenate(advantages)
    return (flat - flat.mean()) / np.sqrt(flat.var(ddof=1) + 1e-8), np.concatenate(returns)


@pytest.mark.parametrize(("gamma", "lambd"), [(1.0, 1.0), (0.99, 0.95), (0.5, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("rewards_by_token", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_gae_equals_the_numpy_oracle(seed: int, rewards_by_token: bool, gamma: float, lambd: float) -> None:
    batch = a_batch(seed, rewards_by_token=rewards_by_token)

    found = gae(batch, AdvantageOptions(gamma=gamma, lambd=lambd))

    advantages, returns = oracle(batch, gamma, lambd)
    assert found.returns_T is not None
    np.testing.assert_allclose(found.token_T.numpy(), advantages, atol=1e-10)
    np.testing.assert_allclose(found.returns_T.numpy(), returns, atol=1e-10)


def test_with_gamma_and_lambda_of_one_the_return_of_every_token_is_the_reward() -> None:
    batch = a_batch()

    found = gae(batch, AdvantageOptions(gamma=1.0, lambd=1.0))

    torch.testing.assert_close(found.returns_T, batch.rewards_N[batch.sample_T])


def test_advantages_have_mean_zero_and_deviation_one() -> None:
    found = gae(a_batch(), AdvantageOptions(gamma=0.9, lambd=0.9)).token_T

    assert float(found.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(found.std()) == pytest.approx(1.0, abs=1e-6)


def test_nothing_carries_a_gradient_to_the_critic() -> None:
    values_T = torch.zeros(2, requires_grad=True)
    outcomes = Outcomes(
        rewards_N=torch.tensor([1.0]), group_N=torch.tensor([0]), sample_T=torch.tensor([0, 0]), values_T=values_T
    )

    found = gae(outcomes, AdvantageOptions())

    assert found.returns_T is not None
    assert not found.token_T.requires_grad
    assert not found.returns_T.requires_grad


def test_a_single_token_gets_zero_and_is_counted_and_still_teaches_the_critic() -> None:
    outcomes = Outcomes(
        rewards_N=torch.tensor([3.0]),
        group_N=torch.tensor([0]),
        sample_T=torch.tensor([0]),
        values_T=torch.tensor([0.5]),
    )

    found = gae(outcomes, AdvantageOptions())

    assert found.returns_T is not None
    assert (found.token_T.tolist(), found.returns_T.tolist(), found.singleton_groups) == ([0.0], [3.0], 1)


def test_without_values_it_is_refused_with_the_key_that_gives_them() -> None:
    outcomes = Outcomes(rewards_N=torch.zeros(1), group_N=torch.tensor([0]), sample_T=torch.tensor([0]))

    with pytest.raises(ValueError, match=r"gae needs a critic's values.*trainer\.critic\.model\.path"):
        gae(outcomes, AdvantageOptions())
