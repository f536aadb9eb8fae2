"""Sampling: how the next token is drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tetrad_config.section import Count, Fraction, NonNegativeFloat, PositiveFloat, Section, Texts


def _is_top_k(value: int) -> int:
    if value == -1 or value >= 1:
        return value
    raise ValueError("must be at least 1, or -1 for all tokens")


class Sampling(Section):
    """`generator.sampling_params`: how training samples are drawn."""

    max_generate_length: Count = 1024
    """Tokens generated per turn at most."""
    temperature: NonNegativeFloat = 1.0
    """Logits are divided by this; 0 takes the likeliest token."""
    top_p: Fraction = 1.0
    """Only the likeliest tokens whose probabilities sum to this are drawn; 1 is off."""
    top_k: Annotated[int, AfterValidator(_is_top_k)] = -1
    """Only so many of the likeliest tokens are drawn; -1 is off."""
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Only tokens at least this likely, relative to the likeliest, are drawn; 0 is off."""
    repetition_penalty: PositiveFloat = 1.0
    """Divides the logits of tokens that have appeared; 1 is off."""
    logprobs: int | None = 0
    """Log-probs of alternatives; 0 returns the drawn token's, which is always returned."""
    stop: Texts = ()
    """Texts that end a turn."""

    @property
    def is_truncated(self) -> bool:
        """Whether tokens are cut from the distribution, so that log-probs are not the behaviour policy's."""
        return self.top_p < 1 or self.top_k != -1 or self.min_p > 0


class EvalSampling(Sampling):
    """`generator.eval_sampling_params`: how evaluation samples are drawn."""

    temperature: NonNegativeFloat = 0.0
    """Logits are divided by this; 0 takes the likeliest token."""
