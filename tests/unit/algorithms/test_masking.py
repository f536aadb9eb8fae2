"""Reductions: what they weigh, and that padding weighs nothing."""

from __future__ import annotations

import pytest
import torch

from tetrad_algorithms.masking import MiniBatchCounts, masked_mean, masked_sum, reductions


def counts(*tokens: int) -> MiniBatchCounts:
    return MiniBatchCounts(
        tokens_N=torch.tensor(tokens), group_N=torch.zeros(len(tokens), dtype=torch.int64), max_sequence_tokens=10
    )


def test_padding_changes_no_sum_and_no_mean() -> None:
    values, mask = torch.tensor([1.0, 2.0]), torch.tensor([1, 1])
    padded, padded_mask = torch.cat([values, torch.tensor([float("nan")])]), torch.tensor([1, 1, 0])

    assert masked_sum(padded, padded_mask) == masked_sum(values, mask)
    assert masked_mean(padded, padded_mask, denominator=2) == 1.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_mean", (2 * 1 + 6 * 5) / 8),
        ("sequence_mean", (1 + 5) / 2),
        ("prompt_mean", (2 * 1 + 6 * 5) / 8),
        ("seq_mean_token_sum_norm", (2 * 1 + 6 * 5) / (2 * 10)),
    ],
)
def test_weights_times_losses_are_the_reduction(name: str, expected: float) -> None:
    weights = reductions.get(name)(counts(2, 6))

    loss_per_token = torch.tensor([1.0, 5.0])
    total = (weights * torch.tensor([2, 6]) * loss_per_token).sum()
    assert float(total) == pytest.approx(expected)


@pytest.mark.parametrize("name", reductions.names())
def test_a_mini_batch_without_tokens_has_finite_weights(name: str) -> None:
    assert reductions.get(name)(counts(0, 0)).isfinite().all()


def test_a_constant_divisor_must_be_given() -> None:
    empty = MiniBatchCounts(tokens_N=torch.tensor([1]), group_N=torch.tensor([0]), max_sequence_tokens=0)

    with pytest.raises(ValueError, match="max_sequence_tokens is 0"):
        reductions.get("seq_mean_token_sum_norm")(empty)


def test_prompt_mean_gives_every_prompt_the_same_say() -> None:
    of_two = MiniBatchCounts(tokens_N=torch.tensor([1, 3, 2]), group_N=torch.tensor([5, 5, 2]), max_sequence_tokens=10)

    weights = reductions.get("prompt_mean")(of_two)

    assert (weights * of_two.tokens_N).tolist() == pytest.approx([1 / 8, 3 / 8, 1 / 2])
