"""Weights and masks of the off-policy correction, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tetrad_algorithms.correction import (
    Bounds,
    CorrectionOptions,
    RatioLevel,
    SequenceMask,
    correct,
    ratio_figures,
)

LENGTHS = (1, 4, 7, 2, 6)
SAMPLE = np.repeat(np.array([3, 0, 9, 1, 4]), LENGTHS)


def drawn(seed: int, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    rollout = -3 * draw.random(len(SAMPLE))
    return rollout + spread * draw.standard_normal(len(SAMPLE)), rollout


def sequences(values: np.ndarray) -> list[np.ndarray]:
    return [values[sample == SAMPLE] for sample in SAMPLE]


@pytest.mark.parametrize("seed", range(5))
def test_token_weights_are_truncated_ratios(seed: int) -> None:
    old, rollout = drawn(seed)

    found = run(old, rollout, CorrectionOptions(level=RatioLevel.TOKEN, token_clip_high=1.3))

    np.testing.assert_allclose(found.weight_T.numpy(), np.minimum(np.exp(old - rollout), 1.3), rtol=1e-12)
    np.testing.assert_array_equal(found.shares["tis_token_clip_high"].numpy(), np.exp(old - rollout) > 1.3)
    assert found.keep_T.all()


@pytest.mark.parametrize("seed", range(5))
def test_sequence_weights_are_truncated_products(seed: int) -> None:
    old, rollout = drawn(seed)

    found = run(old, rollout, CorrectionOptions(level=RatioLevel.SEQUENCE, sequence_clip_high=1.5))

    products = np.array([np.prod(np.exp(part)) for part in sequences(old - rollout)])
    np.testing.assert_allclose(found.weight_T.numpy(), np.minimum(products, 1.5), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("metric", "fold"), [(SequenceMask.PRODUCT, np.sum), (SequenceMask.GEOMETRIC, np.mean)])
def test_sequences_are_masked_as_a_whole(seed: int, metric: SequenceMask, fold: np.ufunc) -> None:
    old, rollout = drawn(seed)

    found = run(old, rollout, CorrectionOptions(sequence_mask=metric, sequence_bounds=Bounds(low=0.9, high=1.2)))

    ratios = np.array([np.exp(fold(part)) for part in sequences(old - rollout)])
    np.testing.assert_array_equal(found.keep_T.numpy(), (ratios >= 0.9) & (ratios <= 1.2))
    assert torch.equal(found.weight_T, torch.ones(len(SAMPLE), dtype=torch.float64))


@pytest.mark.parametrize("seed", range(5))
def test_icepop_masks_single_tokens(seed: int) -> None:
    old, rollout = drawn(seed)

    found = run(old, rollout, CorrectionOptions(token_mask=Bounds(low=0.7, high=1.4)))

    ratios = np.exp(old - rollout)
    np.testing.assert_array_equal(found.keep_T.numpy(), (ratios >= 0.7) & (ratios <= 1.4))


@pytest.mark.parametrize("seed", range(5))
def test_one_outlier_masks_its_sequence(seed: int) -> None:
    old, rollout = drawn(seed, spread=0.6)

    found = run(old, rollout, CorrectionOptions(outlier=Bounds(low=0.3, high=3.0)))

    worst = np.array([(np.exp(part) < 0.3).any() or (np.exp(part) > 3.0).any() for part in sequences(old - rollout)])
    np.testing.assert_array_equal(found.keep_T.numpy(), ~worst)


def test_masks_add_up_and_each_is_counted() -> None:
    old, rollout = drawn(0, spread=0.6)
    options = {
        "outlier": CorrectionOptions(outlier=Bounds(high=3.0)),
        "token": CorrectionOptions(token_mask=Bounds(low=0.7, high=1.4)),
    }
    both = CorrectionOptions(outlier=Bounds(high=3.0), token_mask=Bounds(low=0.7, high=1.4))

    alone = {name: run(old, rollout, one) for name, one in options.items()}
    together = run(old, rollout, both)

    assert torch.equal(together.keep_T, alone["outlier"].keep_T & alone["token"].keep_T)
    assert set(together.shares) == set(alone["outlier"].shares) | set(alone["token"].shares)


def test_equal_policies_weigh_one_and_mask_nothing() -> None:
    same = np.full(len(SAMPLE), -1.0)
    options = CorrectionOptions(
        level=RatioLevel.SEQUENCE,
        outlier=Bounds(low=0.5, high=2.0),
        sequence_mask=SequenceMask.GEOMETRIC,
        sequence_bounds=Bounds(low=0.99, high=1.01),
        token_mask=Bounds(low=0.5, high=2.0),
    )

    found = run(same, same, options)

    assert found.weight_T.eq(1).all()
    assert found.keep_T.all()
    assert ratio_figures(torch.tensor(same), torch.tensor(same)) == {
        "is_ratio_mean": 1.0,
        "is_ratio_std": 0.0,
        "is_ratio_max": 1.0,
        "is_ratio_min": 1.0,
        "is_ratio_ess": 1.0,
    }


def test_an_impossible_token_gives_a_finite_weight() -> None:
    found = correct(
        torch.tensor([0.0, -900.0]),
        torch.tensor([-900.0, 0.0]),
        torch.tensor([0, 1]),
        CorrectionOptions(level=RatioLevel.SEQUENCE),
    )

    assert found.weight_T.isfinite().all()
    assert float(found.weight_T[0]) == 5.0


def test_a_rank_without_tokens_has_nothing_to_correct() -> None:
    nothing = np.zeros(0)
    options = CorrectionOptions(
        level=RatioLevel.TOKEN, outlier=Bounds(high=2.0), sequence_mask=SequenceMask.PRODUCT, token_mask=Bounds(low=0.5)
    )

    found = correct(torch.tensor(nothing), torch.tensor(nothing), torch.zeros(0, dtype=torch.int64), options)

    assert (len(found.weight_T), len(found.keep_T)) == (0, 0)
    assert ratio_figures(torch.tensor(nothing), torch.tensor(nothing)) == {}


def test_the_effective_sample_size_is_kish_s() -> None:
    old, rollout = drawn(1)
    ratios = np.exp(old - rollout)

    found = ratio_figures(torch.tensor(old), torch.tensor(rollout))

    assert found["is_ratio_ess"] == pytest.approx(ratios.sum() ** 2 / (len(ratios) * (ratios**2).sum()), rel=1e-12)
    assert found["is_ratio_min"] == pytest.approx(ratios.min(), rel=1e-12)


def run(old: np.ndarray, rollout: np.ndarray, options: CorrectionOptions):
    return correct(torch.tensor(old), torch.tensor(rollout), torch.tensor(SAMPLE), options)
