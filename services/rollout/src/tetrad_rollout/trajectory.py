"""One sample as it grows: tokens in, never re-tokenised; masks, log-probs, rewards and versions stay aligned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.protocol import FinishReason, GeneratedSample
from tetrad_wire.messages.leases import VersionSpan

Ids = npt.NDArray[np.int32]


@dataclass(slots=True)
class Trajectory:
    """Prompt, sampled turns and observations of one sample."""

    prompt_ids: Ids
    pieces: list[Ids] = field(default_factory=list)
    masks: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    logprobs: list[npt.NDArray[np.float32]] = field(default_factory=list)
    reward_positions: list[int] = field(default_factory=list)
    reward_values: list[float] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    """What other rules would have paid so far, by name."""
    spans: list[VersionSpan] = field(default_factory=list)
    finish_reason: FinishReason = FinishReason.STOP
    num_turns: int = 0

    def __post_init__(self) -> None:
        """Begin with the prompt, which nobody sampled."""
        self.observe(self.prompt_ids)

    @property
    def ids(self) -> Ids:
        """All tokens so far, the context of the next turn."""
        return np.concatenate(self.pieces).astype(np.int32)

    def observe(self, ids: Ids) -> None:
        """Append tokens that the policy did not sample."""
        self._append(ids, np.zeros(len(ids), np.uint8), np.zeros(len(ids), np.float32))

    def act(self, sample: GeneratedSample) -> None:
        """Append a sampled turn."""
        self._append(sample.token_ids, np.ones(len(sample.token_ids), np.uint8), sample.logprobs)
        self.spans.extend(VersionSpan(span.version, span.length) for span in sample.spans)
        self.finish_reason = sample.finish_reason
        self.num_turns += 1

    def reward(self, value: float, scores: Mapping[str, float]) -> None:
        """Put a turn's reward at its last token, and add up what other rules would have paid."""
        self.reward_positions.append(sum(map(len, self.pieces)) - 1)
        self.reward_values.append(value)
        for name, score in scores.items():
            self.scores[name] = self.scores.get(name, 0.0) + score

    def cut_off(self) -> None:
        """End here, because nothing more fits."""
        self.finish_reason = FinishReason.LENGTH

    def forfeit(self) -> float:
        """Lose rewards and scores of every turn; return the sum of the rewards. Which turns had one stays known."""
        lost = sum(self.reward_values)
        self.reward_values = [0.0] * len(self.reward_values)
        self.scores = dict.fromkeys(self.scores, 0.0)
        return lost

    def merged_spans(self) -> tuple[VersionSpan, ...]:
        """Version spans, neighbours of one version joined."""
        merged: list[VersionSpan] = []
        for span in self.spans:
            if merged and merged[-1].version == span.version:
                merged[-1] = VersionSpan(span.version, merged[-1].length + span.length)
            else:
                merged.append(span)
        return tuple(merged)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Aligned arrays, as the wire wants them."""
        return {
            "token_ids": self.ids,
            "loss_mask": _joined(self.masks, np.uint8),
            "rollout_logprobs": _joined(self.logprobs, np.float32),
            "reward_positions": np.array(self.reward_positions, np.int32),
            "reward_values": np.array(self.reward_values, np.float32),
        }

    def _append(self, ids: Ids, mask: npt.NDArray[np.uint8], logprobs: npt.NDArray[np.float32]) -> None:
        self.pieces.append(np.asarray(ids, np.int32))
        self.masks.append(mask)
        self.logprobs.append(np.asarray(logprobs, np.float32))


def _joined(arrays: Sequence[npt.NDArray[np.generic]], dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    return np.concatenate(arrays).astype(dtype)
