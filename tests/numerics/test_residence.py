"""What a rank holds goes to the host between two steps and comes back, and nothing is computed differently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, exported, options

from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.residence import Residence

pytestmark = pytest.mark.usefixtures("lone_rank")

KL_LOSS = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1)


def test_without_a_gpu_there_is_nothing_to_free(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))

    assert trainer.offload() == 0
    assert trainer.load_back() == 0
    trainer.execute(AStep().share())


def test_steps_with_a_journey_in_between_are_the_same_bit_for_bit(tied_model: Path) -> None:
    staying, going = (Trainer.create(options(tied_model, algorithm=KL_LOSS)) for _ in range(2))
    # As on a GPU, with the host's memory in the place of the device's.
    residence = Residence(going._held, device=torch.device("cpu"))

    for seed in range(3):
        for trainer in (staying, going):
            trainer.execute(AStep(seed=seed, step=seed + 1).share())
        num_bytes = residence.offload()
        assert {tensor.untyped_storage().nbytes() for tensor in _locals(going)} == {0}
        assert residence.load_back() == num_bytes

    assert num_bytes >= 4 * sum(parameter.numel() for parameter in going._policy.parameters()) * 4
    np.testing.assert_array_equal(exported(going), exported(staying))


def _locals(trainer: Trainer) -> list[torch.Tensor]:
    return [parameter.to_local() for parameter in trainer._policy.parameters()]
