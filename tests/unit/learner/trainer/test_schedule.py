"""The learning rate is the one that transformers' schedulers give."""

from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from tetrad_learner.trainer.options import OptimizerOptions, ScheduleKind
from tetrad_learner.trainer.schedule import check_schedule, learning_rate


@pytest.mark.parametrize("kind", ScheduleKind)
@pytest.mark.parametrize("warmup", [0, 3])
def test_the_rate_equals_that_of_transformers(kind: ScheduleKind, warmup: int) -> None:
    options = OptimizerOptions(lr=0.5, schedule=kind, num_warmup_steps=warmup, num_training_steps=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs = get_scheduler(kind.value, optimizer, num_warmup_steps=warmup, num_training_steps=10)

    for step in range(12):
        # transformers' constant schedule ignores a warm-up; so does ours.
        if step <= 10:
            assert learning_rate(options, optimizer_step=step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_a_decaying_rate_stays_zero_after_its_end() -> None:
    for kind in (ScheduleKind.LINEAR, ScheduleKind.COSINE):
        options = OptimizerOptions(schedule=kind, num_training_steps=10)
        assert learning_rate(options, optimizer_step=1000) == pytest.approx(0.0)


def test_a_decaying_schedule_must_know_its_end() -> None:
    with pytest.raises(ValueError, match="schedule linear needs num_training_steps above num_warmup_steps"):
        check_schedule(OptimizerOptions(schedule=ScheduleKind.LINEAR, num_warmup_steps=2, num_training_steps=2))
