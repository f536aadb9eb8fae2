"""Discounted sums against a loop, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tetrad_algorithms.advantages import Outcomes
from tetrad_algorithms.advantages.discounting import discounted_sums, token_rewards


def oracle(values: np.ndarray, samples: np.ndarray, factor: float) -> np.ndarray:
    found, carry = np.zeros(len(values)), 0.0
    for t in reversed(range(len(values))):
        is_last = t + 1 == len(values) or samples[t + 1] != samples[t]
        carry = values[t] + (0.0 if is_last else factor * carry)
        found[t] = carry
    return found


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [3, 8, 1, 17], [64], [65, 2]])
def test_a_sum_is_what_a_loop_from_the_end_finds(lengths: list[int], factor: float) -> None:
    samples = np.repeat(np.arange(len(lengths))[::-1], lengths)
    values = np.random.default_rng(len(samples)).normal(size=len(samples))

    found = discounted_sums(torch.tensor(values), torch.tensor(samples), factor=factor)

    np.testing.assert_allclose(found.numpy(), oracle(values, samples, factor), atol=1e-12)


def test_a_samples_sums_do_not_depend_on_its_neighbours_to_the_bit() -> None:
    values_T = torch.tensor(np.random.default_rng(0).normal(size=50))
    sample_T = torch.tensor([0] * 11 + [1] * 26 + [2] * 13)

    together = discounted_sums(values_T, sample_T, factor=0.9)[11:37]

    assert torch.equal(together, discounted_sums(values_T[11:37], sample_T[11:37], factor=0.9))


def test_a_rank_without_tokens_has_no_sums() -> None:
    assert discounted_sums(torch.zeros(0), torch.zeros(0, dtype=torch.int64), factor=0.9).tolist() == []


def test_a_sample_in_pieces_is_refused() -> None:
    with pytest.raises(ValueError, match="2 samples lie in 3 pieces; those of a sample must be adjacent"):
        discounted_sums(torch.zeros(3), torch.tensor([0, 1, 0]), factor=1.0)


def test_the_reward_is_on_the_last_trained_token_unless_it_is_given_by_token() -> None:
    sample_T = torch.tensor([1, 1, 1, 0])
    outcomes = Outcomes(rewards_N=torch.tensor([7.0, 5.0]), group_N=torch.tensor([0, 0]), sample_T=sample_T)
    by_token = Outcomes(
        rewards_N=outcomes.rewards_N,
        group_N=outcomes.group_N,
        sample_T=sample_T,
        token_rewards_T=torch.tensor([1.0, 0.0, 4.0, 7.0]),
    )

    assert token_rewards(outcomes).tolist() == [0.0, 0.0, 5.0, 7.0]
    assert token_rewards(by_token).tolist() == [1.0, 0.0, 4.0, 7.0]
