"""Algorithm: how rewards become advantages and advantages become a loss."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tetrad_config.correction import Cispo, ClipCov, DynamicSampling, KlCov, OffPolicyCorrection, OverlongBuffer, Sapo
from tetrad_config.plugin import own_or_plugin
from tetrad_config.section import Count, Interval, NonNegativeFloat, PositiveFloat, Section, Share


class AdvantageEstimator(StrEnum):
    """Which estimator turns rewards into advantages."""

    GRPO = "grpo"
    GAE = "gae"
    RLOO = "rloo"
    REINFORCE_PLUS_PLUS = "reinforce++"
    MAXRL = "maxrl"


class PolicyLoss(StrEnum):
    """Which loss the policy descends."""

    REGULAR = "regular"
    DUAL_CLIP = "dual_clip"
    GSPO = "gspo"
    CLIP_COV = "clip_cov"
    KL_COV = "kl_cov"
    CISPO = "cispo"
    SAPO = "sapo"
    IMPORTANCE_SAMPLING = "importance_sampling"
    ROLLOUT_IS = "rollout_is"


class LossReduction(StrEnum):
    """How losses of tokens become one number."""

    TOKEN_MEAN = "token_mean"  # noqa: S105  # tokens, not secrets
    SEQUENCE_MEAN = "sequence_mean"
    PROMPT_MEAN = "prompt_mean"
    SEQ_MEAN_TOKEN_SUM_NORM = "seq_mean_token_sum_norm"  # noqa: S105  # tokens, not secrets


class KlEstimator(StrEnum):
    """How the divergence from the reference is estimated from two log-probs."""

    K1 = "k1"
    K2 = "k2"
    K3 = "k3"
    ABS = "abs"


class GrpoStd(StrEnum):
    """Which deviation of a group divides its advantages."""

    SAMPLE = "sample"
    POPULATION = "population"


class GrpoSingleton(StrEnum):
    """What a sample gets that is alone in its group."""

    ZERO = "zero"
    RAW_REWARD = "raw_reward"


class KlController(StrEnum):
    """How the coefficient of the KL reward moves."""

    FIXED = "fixed"
    ADAPTIVE = "adaptive"


class KlControl(Section):
    """`kl_ctrl`: the coefficient of KL in the reward."""

    type: Annotated[KlController, Field(strict=False)] = KlController.FIXED
    """Whether the coefficient stays or is steered to a target."""
    kl_target: PositiveFloat = 0.1
    """Divergence that the adaptive coefficient aims at, in nats per token."""
    horizon: Count = 10000
    """Samples over which the adaptive coefficient reacts."""


AnyEstimator = Annotated[AdvantageEstimator | str, own_or_plugin(AdvantageEstimator, "tetrad.advantage_estimators")]
AnyPolicyLoss = Annotated[PolicyLoss | str, own_or_plugin(PolicyLoss, "tetrad.policy_losses")]
AnyReduction = Annotated[LossReduction | str, own_or_plugin(LossReduction, "tetrad.loss_reductions")]


class Algorithm(Section):
    """`trainer.algorithm`: advantages, loss, divergence."""

    advantage_estimator: AnyEstimator = AdvantageEstimator.GRPO
    """Which estimator turns rewards into advantages; `gae` needs a critic. `module:function` is one of your own."""
    grpo_norm_by_std: bool = True
    """Whether GRPO divides by the group's standard deviation; false is Dr. GRPO."""
    grpo_std: Annotated[GrpoStd, Field(strict=False)] = GrpoStd.SAMPLE
    """Deviation with divisor n - 1 (`sample`, as in SkyRL) or n (`population`, as in the tutorial's example)."""
    grpo_std_epsilon: PositiveFloat = 1e-6
    """Added to the deviation before dividing."""
    grpo_singleton: Annotated[GrpoSingleton, Field(strict=False)] = GrpoSingleton.ZERO
    """Advantage of a sample that is alone in its group, under `grpo` and `maxrl`: 0, or its reward as in SkyRL."""
    advantage_batch_normalize: bool = False
    """Whether advantages are whitened over the batch after the estimator."""
    zero_variance_filter: bool = False
    """Whether groups whose rewards are all equal are masked out of the loss."""
    lambd: Share = 1.0
    """Lambda of GAE: 1 trusts the rewards, 0 the critic."""
    gamma: Share = 1.0
    """Discount per token of GAE and REINFORCE++."""

    policy_loss_type: AnyPolicyLoss = PolicyLoss.REGULAR
    """Which loss the policy descends; `module:function` is one of your own."""
    loss_reduction: AnyReduction = LossReduction.TOKEN_MEAN
    """How the losses of tokens (policy, divergence and entropy alike) become one number; or `module:function`."""
    eps_clip_low: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The probability ratio is clipped below at 1 minus this."""
    eps_clip_high: NonNegativeFloat = 0.2
    """The probability ratio is clipped above at 1 plus this."""
    clip_ratio_c: Annotated[float, Field(gt=1)] = 3.0
    """Bound of the dual clip for negative advantages."""
    value_clip: PositiveFloat = 0.2
    """Range in which the critic's value may move in one update."""
    value_head_prefix: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = "value_head"
    """Name of the critic's output layer, in its model folder and in checkpoints."""

    use_kl_loss: bool = True
    """Whether the divergence from the reference is added to the loss."""
    kl_loss_coef: NonNegativeFloat = 0.001
    """Coefficient of that divergence, in the loss or in the reward."""
    kl_estimator_type: Annotated[KlEstimator, Field(strict=False)] = KlEstimator.K3
    """How the divergence is estimated."""
    use_kl_in_reward: bool = False
    """Whether the divergence is subtracted from the reward; excludes `use_kl_loss`."""
    kl_ctrl: KlControl = Field(default_factory=KlControl)
    """The coefficient of the divergence in the reward."""
    use_entropy_loss: bool = False
    """Whether entropy is rewarded."""
    entropy_loss_coef: NonNegativeFloat = 0.01
    """Coefficient of the entropy bonus, per nat."""

    use_rollout_logprobs_as_old: bool = False
    """Whether the engine's log-probs stand in for the learner's before the update, which saves a forward pass."""
    use_tis: bool = False
    """Old spelling of `off_policy_correction.tis_ratio_type=token`."""
    tis_imp_ratio_cap: float = -1.0
    """Old spelling of `off_policy_correction.token_tis_ratio_clip_high`; -1 is off."""
    off_policy_correction: OffPolicyCorrection = Field(default_factory=OffPolicyCorrection)
    """What is done about engine and learner disagreeing on log-probs."""
    dynamic_sampling: DynamicSampling = Field(default_factory=DynamicSampling)
    """What is done about groups without a signal."""
    overlong_buffer: OverlongBuffer = Field(default_factory=OverlongBuffer)
    """What a response costs that comes near the longest."""
    sapo: Sapo = Field(default_factory=Sapo)
    """Parameters of the `sapo` loss."""
    clip_cov: ClipCov = Field(default_factory=ClipCov)
    """Parameters of the `clip_cov` loss."""
    kl_cov: KlCov = Field(default_factory=KlCov)
    """Parameters of the `kl_cov` loss."""
    cispo: Cispo = Field(default_factory=Cispo)
    """Parameters of the `cispo` loss."""
    max_seq_len: Interval = -1
    """Divisor of `seq_mean_token_sum_norm`, in tokens; -1 means max_input_length + max_generate_length."""
