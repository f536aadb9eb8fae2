"""A GPU that really has too little memory: the step begins again with smaller micro-batches, or says by how much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, last_gradient, options
from torch.distributed.fsdp import FSDPModule

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import MemoryShortError
from tetrad_learner.trainer.options import RowLayout

pytestmark = pytest.mark.usefixtures("lone_gpu_rank")

ROOM_BYTES = 64 << 20
"""Much less than the activations of all samples at once, much more than those of a few."""
STEP = AStep(num_groups=64, group_size=8, longest=60)
CAN_BEGIN_AGAIN = hasattr(FSDPModule, "reset_iter_state")


@contextmanager
def room(num_bytes: int) -> Iterator[None]:
    """Within the body this process may take so many bytes more of the GPU."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + num_bytes) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def a_trainer(model: Path, *, samples: int, layout: RowLayout) -> Trainer:
    return Trainer.create(options(model, device="cuda", row_layout=layout, micro_train_batch_size=samples))


@pytest.mark.skipif(not CAN_BEGIN_AGAIN, reason="this torch cannot reset a sharded model: all ranks start anew instead")
@pytest.mark.parametrize("layout", list(RowLayout))
def test_the_step_begins_again_and_the_gradient_is_the_same(gpu_model: Path, layout: RowLayout) -> None:
    small = a_trainer(gpu_model, samples=8, layout=layout)
    small.execute(STEP.share())
    expected = last_gradient(small)
    short = a_trainer(gpu_model, samples=STEP.num_samples, layout=layout)

    with room(ROOM_BYTES):
        result = short.execute(STEP.share())

    assert result.lowered
    assert "out of memory" in result.lowered[0].reason
    np.testing.assert_allclose(last_gradient(short), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.skipif(CAN_BEGIN_AGAIN, reason="this torch can reset a sharded model")
def test_with_an_older_torch_the_rank_says_by_how_much_micro_batches_must_shrink(gpu_model: Path) -> None:
    short = a_trainer(gpu_model, samples=STEP.num_samples, layout=RowLayout.PACKED)

    with room(ROOM_BYTES), pytest.raises(MemoryShortError) as caught:
        short.execute(STEP.share())

    assert caught.value.shrink_by >= 2
