"""Correction: parameters of single losses, of off-policy correction and of group filters."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tetrad_config.section import Count, Fraction, Interval, NonNegativeFloat, PositiveFloat, Section


class RatioLevel(StrEnum):
    """Over what an importance ratio is taken."""

    TOKEN = "token"  # noqa: S105  # a token of text
    SEQUENCE = "sequence"


class SequenceMaskMetric(StrEnum):
    """How the ratios of a sequence become one."""

    PRODUCT = "product"
    GEOMETRIC = "geometric"


class DynamicSamplingType(StrEnum):
    """What happens to groups whose rewards are all equal."""

    FILTER = "filter"
    REPLACE = "replace"


class OffPolicyCorrection(Section):
    """`off_policy_correction`: weights and masks from learner against rollout log-probs."""

    tis_ratio_type: Annotated[RatioLevel, Field(strict=False)] | None = None
    """Truncated importance sampling per token or per sequence; null is off."""
    token_tis_ratio_clip_high: PositiveFloat = 2.0
    """Largest weight of a token."""
    sequence_tis_ratio_clip_high: PositiveFloat = 5.0
    """Largest weight of a sequence."""
    token_mask_is_threshold_low: NonNegativeFloat | None = None
    """Tokens below this ratio are masked (IcePop); null is off, and needs the other to be null."""
    token_mask_is_threshold_high: PositiveFloat | None = None
    """Tokens above this ratio are masked (IcePop); null is off, and needs the other to be null."""
    sequence_mask_metric: Annotated[SequenceMaskMetric, Field(strict=False)] | None = None
    """Metric by which whole sequences are masked; null is off."""
    geo_mask_high: PositiveFloat = 1.01
    """Sequences with a larger geometric mean ratio are masked."""
    geo_mask_low: NonNegativeFloat = 0.99
    """Sequences with a smaller geometric mean ratio are masked."""
    product_mask_high: PositiveFloat = 2.0
    """Sequences with a larger product of ratios are masked."""
    product_mask_low: NonNegativeFloat = 0.5
    """Sequences with a smaller product of ratios are masked."""
    outlier_token_is_threshold_low: NonNegativeFloat | None = None
    """A sequence with a token below this ratio is masked; null is off."""
    outlier_token_is_threshold_high: PositiveFloat | None = None
    """A sequence with a token above this ratio is masked; null is off."""


class DynamicSampling(Section):
    """`dynamic_sampling`: groups whose rewards are all equal teach nothing. Rewards are those that were graded."""

    type: Annotated[DynamicSamplingType, Field(strict=False)] | None = None
    """Draw others (`filter`), repeat good ones (`replace`), or null: keep them."""
    max_sample_batches: Interval = 30
    """Batches drawn for one step before the run fails; -1 is no limit."""
    min_replace_ratio: Fraction = 0.3
    """Share of good groups that `replace` needs; a batch with less is drawn anew."""


class OverlongBuffer(Section):
    """`overlong_buffer`: long responses are punished before they are cut off (DAPO)."""

    enable: bool = False
    """Whether they are."""
    len: Count = 512
    """Tokens before the longest response over which the punishment grows."""
    penalty_factor: PositiveFloat = 1.0
    """Punishment of a response of the longest length, taken from its reward."""


class Sapo(Section):
    """`sapo`: soft gate instead of a clip."""

    tau_pos: PositiveFloat = 1.0
    """Temperature of the gate for positive advantages."""
    tau_neg: PositiveFloat = 1.05
    """Temperature of the gate for negative advantages."""


class ClipCov(Section):
    """`clip_cov`: detach tokens of high covariance."""

    clip_ratio: Fraction = 2e-4
    """Share of tokens that are detached."""
    clip_cov_lb: float = 1.0
    """Smallest covariance that may be detached."""
    clip_cov_ub: float = 5.0
    """Largest covariance that may be detached."""


class KlCov(Section):
    """`kl_cov`: a KL penalty on tokens of high covariance."""

    kl_cov_frac: Fraction = 0.2
    """Share of tokens that are penalised."""
    ppo_kl_coef: NonNegativeFloat = 1.0
    """Coefficient of the penalty."""


class Cispo(Section):
    """`cispo`: clip the detached importance weight."""

    cispo_eps_clip_low: NonNegativeFloat = 1.0
    """The weight is clipped below at 1 minus this; SkyRL 0.4.0's default of 0 never lets it fall below 1."""
    cispo_eps_clip_high: NonNegativeFloat = 4.0
    """The weight is clipped above at 1 plus this."""
