"""MaxRL against numpy, and where its division would mislead."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tetrad_algorithms.advantages import AdvantageOptions, GrpoSingleton, Outcomes, maxrl


def outcomes(rewards: list[float], groups: list[int] | None = None) -> Outcomes:
    return Outcomes(
        rewards_N=torch.tensor(rewards, dtype=torch.float64),
        group_N=torch.tensor(groups or [0] * len(rewards)),
        sample_T=torch.arange(len(rewards)),
    )


def test_the_tutorials_example() -> None:
    found = maxrl(outcomes([1, 1, 0, 1]), AdvantageOptions()).token_T.tolist()

    assert found == pytest.approx([0.3333, 0.3333, -1.0, 0.3333], abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_maxrl_equals_the_numpy_oracle(seed: int) -> None:
    rewards = np.random.default_rng(seed).random(size=(3, 4))

    found = maxrl(outcomes(rewards.flatten().tolist(), [g for g in range(3) for _ in range(4)]), AdvantageOptions())

    mean = rewards.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found.token_T.numpy(), ((rewards - mean) / (mean + 1e-6)).flatten(), atol=1e-12)


def test_a_group_that_never_succeeds_gets_zero_and_is_counted() -> None:
    found = maxrl(outcomes([0, 0, 0]), AdvantageOptions())

    assert found.token_T.tolist() == [0.0, 0.0, 0.0]
    assert found.flat_groups == 1


@pytest.mark.parametrize(("singleton", "expected"), [(GrpoSingleton.ZERO, 0.0), (GrpoSingleton.RAW_REWARD, 1.0)])
def test_a_group_of_one_is_treated_as_under_grpo(singleton: GrpoSingleton, expected: float) -> None:
    found = maxrl(outcomes([1.0, 0.0, 1.0], [5, 2, 2]), AdvantageOptions(grpo_singleton=singleton))

    assert found.token_T[0] == expected
    assert found.singleton_groups == 1


def test_a_negative_mean_which_would_turn_every_sign_around_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mean reward is -0\.5; maxrl .*needs at least 0.*advantage_estimator=grpo"):
        maxrl(outcomes([-1.0, 0.0]), AdvantageOptions())
