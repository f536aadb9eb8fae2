"""Shaping: what training makes of a sample's reward and loss mask because of its length. Pure.

The journal keeps what was graded and sampled; shaping is applied on the way to the ranks, so that a step can be looked
at, or repeated, either way.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_config import RunConfig
from tetrad_trajectories.journal import JournalSample
from tetrad_wire.messages.leases import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlongPunishment:
    """DAPO's soft punishment of long responses (arXiv:2503.14476, eq. 13)."""

    max_tokens: int
    """Longest response."""
    buffer_tokens: int
    """The punishment grows over this many tokens before it."""
    factor: float = 1.0
    """Punishment of a response of the full length."""

    def of(self, num_tokens: int) -> float:
        """Return what is added to the reward: 0 up to the buffer, then falling to −factor, and never below.

        >>> punishment = OverlongPunishment(max_tokens=100, buffer_tokens=20)
        >>> [punishment.of(length) for length in (80, 90, 100, 200)]
        [0.0, -0.5, -1.0, -1.0]
        """
        free = self.max_tokens - self.buffer_tokens
        return self.factor * max(min((free - num_tokens) / self.buffer_tokens, 0.0), -1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """What is done to every sample of a run."""

    is_overlong_masked: bool = False
    """Whether a sample that did not end by itself leaves the loss; its reward still counts in its group."""
    punishment: OverlongPunishment | None = None

    def reward(self, sample: JournalSample) -> float:
        """The reward that training sees."""
        if self.punishment is None:
            return sample.reward
        return sample.reward + self.punishment.of(int(sample.loss_mask.sum()))

    def loss_mask(self, sample: JournalSample) -> npt.NDArray[np.uint8]:
        """uint8[T]: 1 where training trains."""
        if self.is_overlong_masked and sample.finish_reason is not FinishReason.STOP:
            return np.zeros_like(sample.loss_mask)
        return sample.loss_mask


UNSHAPED: Final = Shaping()


def shaping_of(config: RunConfig) -> Shaping:
    """What the run file asks for."""
    buffer, generator = config.trainer.algorithm.overlong_buffer, config.generator
    punishment = OverlongPunishment(
        max_tokens=generator.sampling_params.max_generate_length,
        buffer_tokens=buffer.len,
        factor=buffer.penalty_factor,
    )
    return Shaping(
        is_overlong_masked=generator.apply_overlong_filtering, punishment=punishment if buffer.enable else None
    )
