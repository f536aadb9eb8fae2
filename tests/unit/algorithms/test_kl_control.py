"""The coefficient of the KL penalty: where it goes, how far at most, and what it refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tetrad_algorithms.kl_control import AdaptiveKl, FixedKl


def oracle(coef: float, divergences: list[float], *, target: float, horizon: int, num_samples: int) -> float:
    for divergence in divergences:
        coef *= 1 + float(np.clip(divergence / target - 1, -0.2, 0.2)) * num_samples / horizon
    return coef


def test_a_fixed_coefficient_stays() -> None:
    assert FixedKl(coef=0.3).updated(99.0, num_samples=64) == FixedKl(coef=0.3)


@pytest.mark.parametrize("seed", range(3))
def test_an_adaptive_one_follows_the_formula_over_many_steps(seed: int) -> None:
    divergences = np.random.default_rng(seed).gamma(1.0, 0.1, size=50).tolist()
    control = AdaptiveKl(coef=0.01, target=0.1, horizon=1000)

    for divergence in divergences:
        control = control.updated(divergence, num_samples=64)

    assert control.coef == pytest.approx(oracle(0.01, divergences, target=0.1, horizon=1000, num_samples=64))


@pytest.mark.parametrize(
    ("divergence", "expected"), [(0.1, 1.0), (0.105, 1.005), (0.2, 1.02), (9.0, 1.02), (0.0, 0.98)]
)
def test_it_grows_above_the_target_shrinks_below_it_and_counts_a_fifth_at_most(
    divergence: float, expected: float
) -> None:
    control = AdaptiveKl(coef=1.0, target=0.1, horizon=1000)

    assert control.updated(divergence, num_samples=100).coef == pytest.approx(expected)


def test_its_whole_state_is_the_coefficient() -> None:
    begun = AdaptiveKl(coef=0.5, target=0.1, horizon=100)
    ended = begun.updated(0.3, num_samples=10)

    resumed = dataclasses.replace(begun, coef=ended.coef)

    assert resumed.updated(0.05, num_samples=10) == ended.updated(0.05, num_samples=10)


def test_a_step_of_many_horizons_does_not_turn_the_sign_around() -> None:
    assert AdaptiveKl(coef=1.0, target=0.1, horizon=1).updated(0.0, num_samples=64).coef == 0.0


@pytest.mark.parametrize("divergence", [math.nan, math.inf])
def test_a_divergence_that_is_no_number_is_refused(divergence: float) -> None:
    with pytest.raises(ValueError, match=r"the divergence is (nan|inf); a coefficient cannot be steered by it"):
        AdaptiveKl(coef=1.0, target=0.1, horizon=100).updated(divergence, num_samples=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coef": -0.1}, "the KL coefficient is -0.1; it must be a number of 0 or more"),
        ({"coef": math.nan}, "the KL coefficient is nan"),
        ({"target": 0.0}, "the KL target is 0.0; it must be a number above 0"),
        ({"horizon": 0}, "the KL horizon is 0 samples; it must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    settings = {"coef": 0.1, "target": 0.1, "horizon": 100} | wrong

    with pytest.raises(ValueError, match=message):
        AdaptiveKl(coef=settings["coef"], target=settings["target"], horizon=int(settings["horizon"]))


def test_a_fixed_coefficient_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="the KL coefficient is -1"):
        FixedKl(coef=-1.0)
