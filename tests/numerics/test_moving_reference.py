"""The reference stays, or becomes the policy at the end of each pass over the data."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerics.trainer_builders import AStep, options

from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.engine import Trainer

pytestmark = pytest.mark.usefixtures("lone_rank")

KL_LOSS = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1)


def divergences(model: Path, steps: list[int], *, interval: int) -> list[float]:
    """KL to the reference at the begin of each step: 0 where the reference is the policy itself."""
    trainer = Trainer.create(options(model, algorithm=KL_LOSS, reference_interval=interval))
    return [trainer.execute(AStep(seed=step, step=step).share()).metrics["kl_loss"] for step in steps]


def test_the_reference_becomes_the_policy_after_each_interval(tied_model: Path) -> None:
    found = divergences(tied_model, [1, 2, 3, 4, 5], interval=2)

    assert [kl == pytest.approx(0.0, abs=1e-9) for kl in found] == [True, False, True, False, True]


def test_an_interval_that_ends_with_a_skipped_step_has_ended(tied_model: Path) -> None:
    found = divergences(tied_model, [1, 3], interval=2)

    assert found == pytest.approx([0.0, 0.0], abs=1e-9)


def test_without_an_interval_it_stays(tied_model: Path) -> None:
    found = divergences(tied_model, [1, 2, 3], interval=0)

    assert found[0] == pytest.approx(0.0, abs=1e-9)
    assert min(found[1:]) > 1e-6
