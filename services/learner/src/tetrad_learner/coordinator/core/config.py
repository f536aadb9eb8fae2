"""The numbers that the core decides by."""

from dataclasses import dataclass


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
    max_publish_attempts: int = 100
    max_save_attempts: int = 6
    """Checkpoints in a row that may fail to be written, or whose ranks may die meanwhile."""
    max_step_attempts: int = 3
    """Times that the ranks may die in the same step."""
    max_rank_losses: int = 6
    """Times that the ranks may die in a row without a new step or checkpoint in between."""
    is_deterministic: bool = False
    """Whether a repeated sample must equal the first bit for bit."""

    @property
    def trainable_size(self) -> int:
        """Filled slots that a group needs."""
        return self.min_group_size or self.group_size
