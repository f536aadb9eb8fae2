"""AdamW, its clip and its memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import OptimizerOptions, ScheduleKind


def a_layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def with_gradient(layer: nn.Linear, scale: float) -> None:
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, scale)


@pytest.mark.parametrize("scale", [0.01, 10.0])
def test_steps_equal_torchs_adamw_with_its_clip(scale: float) -> None:
    ours, theirs = a_layer(), a_layer()
    options = OptimizerOptions(lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.2, max_grad_norm=1.0)
    optimizer = PolicyOptimizer(ours.named_parameters(), options=options)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.2)

    for _ in range(3):
        with_gradient(ours, scale)
        with_gradient(theirs, scale)
        gradient = optimizer.measure()
        optimizer.apply(gradient)
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        reference.step()

    assert gradient.norm == pytest.approx(float(norm))
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-6)
    assert ours.weight.grad is None


def test_a_limit_of_zero_clips_nothing() -> None:
    layer = a_layer()
    optimizer = PolicyOptimizer(layer.named_parameters(), options=OptimizerOptions(max_grad_norm=0.0))
    with_gradient(layer, 100.0)

    optimizer.apply(optimizer.measure())

    assert optimizer.moments()["exp_avg.weight"][0, 0] == pytest.approx(10.0, rel=1e-5)


def test_the_rate_follows_the_steps_taken_and_survives_a_restore() -> None:
    options = OptimizerOptions(
        lr=1.0, schedule=ScheduleKind.LINEAR, num_warmup_steps=2, num_training_steps=6, max_grad_norm=0.0
    )
    optimizer = PolicyOptimizer(a_layer().named_parameters(), options=options)

    optimizer.restore(steps_taken=4)

    assert optimizer.steps_taken == 4
    assert optimizer.lr == 0.5


def test_a_frozen_parameter_has_no_moments() -> None:
    layer = a_layer()
    layer.bias.requires_grad_(requires_grad=False)

    optimizer = PolicyOptimizer(layer.named_parameters(), options=OptimizerOptions())

    assert set(optimizer.moments()) == {"exp_avg.weight", "exp_avg_sq.weight"}
