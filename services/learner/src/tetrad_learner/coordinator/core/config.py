"""The numbers that the core decides by."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NO_LIMIT: Final = -1


class Sampling(StrEnum):
    """What becomes of groups whose rewards are all equal."""

    KEEP = "keep"
    """They are trained on."""
    FILTER = "filter"
    """Others are drawn."""
    REPLACE = "replace"
    """Copies of the others take their places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """Sizes, bounds and periods of a run."""

    batch_size: int
    """Groups (prompts) of one training step: B."""
    group_size: int
    """Samples of one group: n."""
    num_steps: int
    """Training steps of the whole run; 0 only evaluates."""
    max_staleness: int = 0
    """Steps that a sample's policy may lag behind: S."""
    min_group_size: int = 0
    """Samples that a group may be trained with; 0 means all of them."""
    checkpoint_interval: int = -1
    """Steps between checkpoints; -1 only the last."""
    evaluation_interval: int = -1
    """Steps between evaluations; -1 none in between."""
    is_evaluated_first: bool = False
    is_evaluated_last: bool = False
    evaluation_timeout_s: float = 600.0
    """What is missing after this long is reported as missing."""
    progress_timeout_s: float = 60.0
    hard_timeout_s: float = 900.0
    liveness_s: float = 10.0
    """Silence after which an engine is presumed dead."""
    stall_timeout_s: float = 300.0
    """Time without any certified engine after which the run fails."""
    max_infra_attempts: int = 20
    max_data_attempts: int = 2
    max_drops_per_step: int = 256
    """Groups dropped between two sealed steps before the run fails."""
    sampling: Sampling = Sampling.KEEP
    max_sample_batches: int = NO_LIMIT
    """Batches drawn for one step before the run fails."""
    min_replace_ratio: float = 0.3
    """Share of a batch whose rewards must differ for copies of it to take the other places."""
    max_publish_attempts: int = 100
    max_save_attempts: int = 6
    """Checkpoints in a row that may fail to be written, or whose ranks may die meanwhile."""
    max_step_attempts: int = 3
    """Times that the ranks may die in the same step."""
    max_rank_losses: int = 6
    """Times that the ranks may die in a row without a new step or checkpoint in between."""
    is_colocated: bool = False
    """Whether learner and engines share GPUs, and take turns on them."""
    is_deterministic: bool = False
    """Whether a repeated sample must equal the first bit for bit."""

    @property
    def trainable_size(self) -> int:
        """Filled slots that a group needs."""
        return self.min_group_size or self.group_size

    @property
    def max_filtered(self) -> int:
        """Groups that may be filtered for one step: with one more its batches cannot hold a whole one of the others."""
        return NO_LIMIT if self.max_sample_batches == NO_LIMIT else (self.max_sample_batches - 1) * self.batch_size
