"""Normalization against numpy, and where there is nothing to divide by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tetrad_algorithms.advantages import normalize_over_batch
from tetrad_algorithms.advantages.normalization import token_moments, whiten


def alone(values: Tensor) -> Tensor:
    return values


@pytest.mark.parametrize("seed", range(3))
def test_normalizing_divides_by_the_rms_around_the_mean(seed: int) -> None:
    values = np.random.default_rng(seed).normal(loc=5.0, scale=0.1, size=17)

    found = normalize_over_batch(torch.tensor(values), sum_over_ranks=alone)

    np.testing.assert_allclose(found.numpy(), (values - values.mean()) / values.std(), atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_whitening_uses_the_unbiased_variance_plus_its_epsilon(seed: int) -> None:
    values = np.random.default_rng(seed).normal(loc=-2.0, scale=1e-4, size=5)

    moments = token_moments(torch.tensor(values), sum_over_ranks=alone)

    expected = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-8)
    np.testing.assert_allclose(whiten(torch.tensor(values), moments).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("values", [[], [4.0], [0.1, 0.1, 0.1]])
def test_what_has_no_spread_becomes_zero(values: list[float]) -> None:
    values_T = torch.tensor(values)

    assert normalize_over_batch(values_T, sum_over_ranks=alone).tolist() == [0.0] * len(values)


def test_a_small_spread_on_a_large_mean_survives_float32_input() -> None:
    values_T = torch.tensor([4096.0, 4096.5], dtype=torch.float32)

    assert normalize_over_batch(values_T, sum_over_ranks=alone).tolist() == [-1.0, 1.0]
