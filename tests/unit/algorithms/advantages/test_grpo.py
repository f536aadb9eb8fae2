"""GRPO against numpy, by hand, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tetrad_algorithms.advantages import (
    AdvantageOptions,
    Advantages,
    GrpoSingleton,
    GrpoStd,
    Outcomes,
    estimators,
    grpo,
)
from tetrad_algorithms.registry import UnknownNameError


def of(rewards: list[float], groups: list[int] | None = None, *, std: GrpoStd = GrpoStd.SAMPLE) -> Advantages:
    """GRPO with one trained token per sample."""
    return grpo(outcomes(rewards, groups), AdvantageOptions(grpo_std=std))


def outcomes(rewards: list[float], groups: list[int] | None = None) -> Outcomes:
    return Outcomes(
        rewards_N=torch.tensor(rewards),
        group_N=torch.tensor(groups or [0] * len(rewards)),
        sample_T=torch.arange(len(rewards)),
    )


def oracle(rewards: np.ndarray, groups: np.ndarray, std: GrpoStd) -> np.ndarray:
    found = np.zeros(len(rewards))
    for group in set(groups.tolist()):
        mine = rewards[groups == group].astype(np.float64)
        deviation = {
            GrpoStd.SAMPLE: mine.std(ddof=1) + 1e-6 if len(mine) > 1 else 1.0,
            GrpoStd.POPULATION: mine.std() + 1e-6,
            GrpoStd.NONE: 1.0,
        }[std]
        found[groups == group] = (mine - mine.mean()) / deviation
    return found


@pytest.mark.parametrize(
    ("std", "expected"),
    [
        (GrpoStd.POPULATION, [0.5774, 0.5774, -1.7321, 0.5774]),
        (GrpoStd.SAMPLE, [0.5, 0.5, -1.5, 0.5]),
        (GrpoStd.NONE, [0.25, 0.25, -0.75, 0.25]),
    ],
)
def test_the_tutorials_example(std: GrpoStd, expected: list[float]) -> None:
    assert of([1, 1, 0, 1], std=std).token_T.tolist() == pytest.approx(expected, abs=1e-4)


@given(
    rewards=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=24),
    std=st.sampled_from(list(GrpoStd)),
    data=st.data(),
)
def test_grpo_equals_the_numpy_oracle(rewards: list[float], std: GrpoStd, data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.integers(0, 4), min_size=len(rewards), max_size=len(rewards)))

    found = of(rewards, groups, std=std).token_T.numpy()

    expected = oracle(np.array(rewards, dtype=np.float32), np.array(groups), std)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("std", GrpoStd)
def test_a_group_of_one_gets_zero_and_is_counted(std: GrpoStd) -> None:
    found = of([5.0, 1.0, 2.0], [7, 3, 3], std=std)

    assert found.token_T[0] == 0.0
    assert found.singleton_groups == 1


@pytest.mark.parametrize("std", GrpoStd)
def test_on_request_a_group_of_one_gets_its_reward_and_is_counted_all_the_same(std: GrpoStd) -> None:
    options = AdvantageOptions(grpo_std=std, grpo_singleton=GrpoSingleton.RAW_REWARD)

    found = grpo(outcomes([5.0, 1.0, 2.0], [7, 3, 3]), options)

    assert found.token_T[0] == 5.0
    assert found.token_T[1:].tolist() == of([1.0, 2.0], std=std).token_T.tolist()
    assert found.singleton_groups == 1


def test_a_group_without_spread_gets_exactly_zero_and_is_counted() -> None:
    found = of([0.1, 0.1, 0.1, 1.0, 2.0], [0, 0, 0, 1, 1])

    assert found.token_T[:3].tolist() == [0.0, 0.0, 0.0]
    assert (found.flat_groups, found.singleton_groups) == (1, 0)


def test_the_order_of_samples_and_the_numbers_of_groups_mean_nothing() -> None:
    rewards, groups = [1.0, 4.0, 2.0, 8.0, 3.0], [0, 1, 0, 1, 0]
    order = [3, 0, 4, 2, 1]

    shuffled = of([rewards[i] for i in order], [900 + groups[i] for i in order]).token_T

    torch.testing.assert_close(shuffled, of(rewards, groups).token_T[order])


def test_every_token_of_a_sample_gets_the_samples_advantage() -> None:
    two = Outcomes(rewards_N=torch.tensor([0.0, 1.0]), group_N=torch.tensor([0, 0]), sample_T=torch.tensor([1, 1, 0]))

    found = grpo(two, AdvantageOptions(grpo_std=GrpoStd.NONE)).token_T

    assert found.tolist() == [0.5, 0.5, -0.5]


def test_the_epsilon_is_added_to_the_deviation() -> None:
    options = AdvantageOptions(grpo_std=GrpoStd.POPULATION, grpo_std_epsilon=1.0)

    assert grpo(outcomes([0.0, 2.0]), options).token_T.tolist() == [-0.5, 0.5]


def test_a_misspelt_estimator_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"advantage_estimator is 'gpro'.*did you mean 'grpo'"):
        estimators.get("gpro")
