"""Metrics of a mini-batch."""

from __future__ import annotations

import math

import pytest
import torch

from tetrad_learner.trainer.ranks import join
from tetrad_learner.trainer.tally import Tally


def a_tally() -> Tally:
    return Tally(totals=("loss",), per_token=("entropy",), device=torch.device("cpu"))


def parts(loss: float, entropy: float) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(loss, requires_grad=True), "entropy": torch.tensor(entropy)}


def test_totals_add_up_and_the_rest_is_per_token(lone_rank: None) -> None:
    tally = a_tally()

    tally.add(parts(1.0, 6.0), num_tokens=2)
    tally.add(parts(2.0, 2.0), num_tokens=2)
    tally.add(parts(0.0, 0.0), num_tokens=0)

    assert tally.metrics(join(device="cpu", timeout_s=1.0)) == {"loss": 3.0, "entropy": 2.0, "tokens": 4.0}


def test_a_loss_that_is_not_finite_stays_visible(lone_rank: None) -> None:
    tally = a_tally()

    tally.add(parts(float("nan"), 2.0), num_tokens=1)

    assert math.isnan(tally.metrics(join(device="cpu", timeout_s=1.0))["loss"])


def test_a_name_that_was_not_announced_is_missed(lone_rank: None) -> None:
    with pytest.raises(KeyError):
        a_tally().add({"loss": torch.tensor(1.0)}, num_tokens=1)
