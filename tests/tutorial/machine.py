"""What a walk through a tutorial has to do with: no GPU, or some."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# A printed run generates 1,024 answers of 1,024 tokens a step; these are 32 of 12.
SMALL: Final = (
    "trainer.train_batch_size=8",
    "trainer.policy_mini_batch_size=8",
    "trainer.critic_mini_batch_size=8",
    "trainer.policy.optimizer_config.lr=2e-4",
    "generator.sampling_params.max_generate_length=12",
    "generator.eval_sampling_params.max_generate_length=12",
    "resources.threads_per_process=1",
)
NUM_VALIDATION_ROWS: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the walk takes place."""

    num_gpus: int
    """GPUs for the blocks that need some; 0 unless the caller says --gpu."""

    @property
    def has_gpu(self) -> bool:
        """Whether blocks that need one are run."""
        return self.num_gpus > 0

    @property
    def has_sglang(self) -> bool:
        """Whether the engine can be imported."""
        return find_spec("sglang") is not None

    def words(self, validation: Path, *further: str) -> Sequence[str]:
        """Return what makes a printed run small; where it runs is left to what the product says itself."""
        return (*SMALL, f"data.val_data=[{validation}]", *further)
