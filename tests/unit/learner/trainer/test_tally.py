"""Metrics of a mini-batch."""

from __future__ import annotations

import math

import pytest
import torch

from tetrad_learner.trainer.objective import MicroLoss
from tetrad_learner.trainer.ranks import join
from tetrad_learner.trainer.tally import Tally


def a_loss(total: float, mismatch: list[float]) -> MicroLoss:
    return MicroLoss(
        total=torch.tensor(total, requires_grad=True),
        policy=torch.tensor(total),
        kl=torch.tensor(0.5),
        num_clipped=torch.tensor(1),
        mismatch_T=torch.tensor(mismatch),
    )


def test_losses_add_up_and_the_rest_is_per_token(lone_rank: None) -> None:
    tally = Tally(torch.device("cpu"))

    tally.add(a_loss(1.0, [0.1, 0.3]), torch.tensor([2.0, 4.0]))
    tally.add(a_loss(2.0, [0.2, 0.2]), torch.tensor([1.0, 1.0]))
    tally.add(a_loss(0.0, []), torch.tensor([]))
    metrics = tally.metrics(join(device="cpu", timeout_s=1.0))

    assert metrics == {
        "loss": 3.0,
        "policy_loss": 3.0,
        "kl_loss": 1.5,
        "entropy": 2.0,
        "clip_ratio": 0.75,
        "logprob_diff_mean": pytest.approx(0.2),
        "logprob_diff_max": pytest.approx(0.3),
        "tokens": 4.0,
    }


def test_a_loss_that_is_not_finite_stays_visible(lone_rank: None) -> None:
    tally = Tally(torch.device("cpu"))

    tally.add(a_loss(float("nan"), [0.1]), torch.tensor([2.0]))

    assert math.isnan(tally.metrics(join(device="cpu", timeout_s=1.0))["loss"])
