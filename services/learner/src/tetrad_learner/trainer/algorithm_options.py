"""Settings of the algorithm on a trainer rank: plain values by the names of the run file; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class RatioLevel(StrEnum):
    """Over what a truncated importance weight is taken."""

    OFF = "off"
    TOKEN = "token"  # noqa: S105  # a token of text
    SEQUENCE = "sequence"


class SequenceMask(StrEnum):
    """How the ratios of a sequence become the one that it is masked by."""

    OFF = "off"
    PRODUCT = "product"
    GEOMETRIC = "geometric"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionSettings:
    """Correction of the difference between the rollout engine and the learner; all ratios are old / rollout."""

    level: RatioLevel = RatioLevel.OFF
    token_clip_high: float = 2.0
    """Largest weight of a token."""
    sequence_clip_high: float = 5.0
    """Largest weight of a sequence."""
    token_mask_low: float | None = None
    """Tokens below this ratio are masked (IcePop); both bounds or none."""
    token_mask_high: float | None = None
    sequence_mask: SequenceMask = SequenceMask.OFF
    geo_mask_low: float = 0.99
    geo_mask_high: float = 1.01
    product_mask_low: float = 0.5
    product_mask_high: float = 2.0
    outlier_low: float | None = None
    """A sequence with a token below this ratio is masked."""
    outlier_high: float | None = None

    @property
    def masks(self) -> bool:
        """Whether tokens may lose their part in the loss."""
        bounds = (self.token_mask_low, self.token_mask_high, self.outlier_low, self.outlier_high)
        return self.sequence_mask is not SequenceMask.OFF or any(bound is not None for bound in bounds)

    @property
    def is_on(self) -> bool:
        """Whether anything is weighed or masked."""
        return self.masks or self.level is not RatioLevel.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class KlRewardSettings:
    """KL in the reward: its coefficient begins at `kl_loss_coef` and stays, or is steered to a target."""

    is_adaptive: bool = False
    target: float = 0.1
    """Nats per token."""
    horizon: int = 10_000
    """Samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmOptions:
    """The objective, by the names of the registries in tetrad_algorithms."""

    # ── before advantages ──
    zero_variance_filter: bool = False
    """Whether groups whose rewards are all equal are masked out of the loss."""
    use_rollout_logprobs_as_old: bool = False
    """Whether the rollout engine's log-probabilities stand in for those before the first update."""
    correction: CorrectionSettings = field(default_factory=CorrectionSettings)

    # ── advantages ──
    advantage_estimator: str = "grpo"
    grpo_std: str = "sample"
    """sample | population | none."""
    grpo_std_epsilon: float = 1e-6
    """Added to that deviation."""
    grpo_singleton: str = "zero"
    """zero | raw_reward: the advantage of a group of one."""
    gamma: float = 1.0
    lambd: float = 1.0
    advantage_batch_normalize: bool = False

    # ── policy loss ──
    policy_loss_type: str = "regular"
    loss_reduction: str = "token_mean"
    """Applies to the policy loss, the KL loss and the entropy bonus alike."""
    max_sequence_tokens: int = 0
    """Divisor of the reduction seq_mean_token_sum_norm."""
    eps_clip_low: float = 0.2
    eps_clip_high: float = 0.2
    clip_ratio_c: float = 3.0
    sapo_tau_pos: float = 1.0
    sapo_tau_neg: float = 1.05
    cispo_eps_clip_low: float = 1.0
    cispo_eps_clip_high: float = 4.0
    clip_cov_ratio: float = 2e-4
    clip_cov_lb: float = 1.0
    clip_cov_ub: float = 5.0
    kl_cov_frac: float = 0.2
    kl_cov_coef: float = 1.0

    # ── divergence and entropy ──
    use_kl_loss: bool = False
    kl_loss_coef: float = 0.001
    kl_estimator_type: str = "k3"
    use_kl_in_reward: bool = False
    kl_reward: KlRewardSettings = field(default_factory=KlRewardSettings)
    entropy_loss_coef: float = 0.0
    """Weight of the entropy bonus; 0 is none."""
    temperature: float = 1.0
    """Sampling temperature: log-probabilities are those of logits / temperature."""

    def __post_init__(self) -> None:
        if self.use_kl_loss and self.use_kl_in_reward:
            raise ValueError("the divergence would count twice; set use_kl_loss or use_kl_in_reward, not both")

    @property
    def needs_reference(self) -> bool:
        """Whether log-probabilities of the reference model are needed."""
        return self.use_kl_loss or self.use_kl_in_reward
