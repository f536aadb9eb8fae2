"""What a sealed step holds, and its hash.

Owns no file. The hash is over content, not over file bytes, so it is the same whatever wrote the file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tetrad_trajectories.json_like import JsonValue, canonical
from tetrad_wire.messages.leases import FinishReason, SampleFinished, VersionSpan

ARRAYS: Final[Mapping[str, np.dtype[Any]]] = {
    "token_ids": np.dtype("<i4"),
    "loss_mask": np.dtype("u1"),
    "rollout_logprobs": np.dtype("<f4"),
    "reward_positions": np.dtype("<i4"),
    "reward_values": np.dtype("<f4"),
}
"""Array fields of a sample and their element types."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JournalSample:
    """One trained sample. T tokens, K rewarded turns."""

    draw: int
    index: int
    prompt_length: int
    """Tokens before the first sampled one."""
    finish_reason: FinishReason
    num_turns: int = 1
    spans: tuple[VersionSpan, ...] = ()
    """Policy versions of the sampled tokens, in order of sampling."""
    grader_version: str = ""
    incarnation: str = ""
    """Of the engine that produced it."""
    token_ids: npt.NDArray[np.int32]
    """int32[T]: prompt, sampled tokens and observations, in order."""
    loss_mask: npt.NDArray[np.uint8]
    """uint8[T]: 1 where the policy sampled the token."""
    rollout_logprobs: npt.NDArray[np.float32]
    """float32[T], 0 where not sampled."""
    reward_positions: npt.NDArray[np.int32]
    """int32[K]: last token of each rewarded turn."""
    reward_values: npt.NDArray[np.float32]
    """float32[K]."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    response: str = ""
    """Decoded text of the last turn, for the eyes only."""
    seconds: float = 0.0
    """From grant to grade."""

    def __post_init__(self) -> None:
        """Check dtypes and alignment; raise ValueError naming the slot."""
        for name, dtype in ARRAYS.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != 1:
                raise ValueError(f"{self._slot()}: {name} must be {dtype}[n], not {array.dtype}{array.shape}")
        num_tokens = len(self.token_ids)
        if not len(self.loss_mask) == len(self.rollout_logprobs) == num_tokens:
            raise ValueError(
                f"{self._slot()}: {num_tokens} tokens, {len(self.loss_mask)} in loss_mask, "
                f"{len(self.rollout_logprobs)} log-probs; they must agree"
            )
        if len(self.reward_positions) != len(self.reward_values):
            raise ValueError(
                f"{self._slot()}: {len(self.reward_positions)} reward positions, "
                f"{len(self.reward_values)} rewards; they must agree"
            )

    @classmethod
    def of(cls, sample: SampleFinished) -> "JournalSample":
        """Take what training needs from a finished sample; its lease's secrets stay behind."""
        taken = {name: getattr(sample, name) for name in cls.__slots__}
        return cls(**taken)

    @property
    def reward(self) -> float:
        """Sum over turns."""
        return float(self.reward_values.sum())

    def _slot(self) -> str:
        return f"sample {self.index} of draw {self.draw}"


class Place(NamedTuple):
    """One sample of a step as it is trained on."""

    group: int
    """Ordinal of its group in the step; a copy of a group is a group of its own."""
    sample: JournalSample


def places(samples: Sequence[JournalSample], multiplicities: Sequence[int] = ()) -> tuple[Place, ...]:
    """Lay out what is trained on: the groups in order, then the second of those that come twice, and so on.

    So the copies of a group lie apart, and mostly in different mini-batches. Raises ValueError where `multiplicities`
    do not fit the groups.
    """
    groups = [tuple(members) for _draw, members in groupby(samples, key=lambda sample: sample.draw)]
    times = multiplicities or (1,) * len(groups)
    if len(times) != len(groups) or min(times, default=1) < 1:
        raise ValueError(f"multiplicities {tuple(times)} must be 1 or more for each of {len(groups)} groups")
    turns = range(max(times, default=0))
    laid = [group for turn in turns for group, most in zip(groups, times, strict=True) if turn < most]
    return tuple(Place(ordinal, sample) for ordinal, group in enumerate(laid) for sample in group)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JournalStep:
    """The batch of one sealed training step."""

    run_id: str
    step: int
    lineage: int
    samples: tuple[JournalSample, ...]
    """In training order, each once."""
    multiplicities: tuple[int, ...] = ()
    """How often each group is trained on, in the order of the samples; empty means once each."""
    mini_batch_ends: tuple[int, ...]
    """For each optimizer step, the position in `places` after its last; the last one is all of them."""
    events: tuple[Mapping[str, object], ...] = ()
    """The ledger's events of this step, in order, JSON-like; not part of `hash`, because one of them names it."""

    def __post_init__(self) -> None:
        """Check the cuts; raise ValueError with the numbers."""
        ends, num_places = self.mini_batch_ends, len(self.places)
        is_increasing = all(left < right for left, right in pairwise((0, *ends)))
        if not ends or not is_increasing or ends[-1] != num_places:
            raise ValueError(
                f"step {self.step}: mini-batch ends {ends} must rise from above 0 to {num_places}, "
                "the number of samples"
            )

    @property
    def places(self) -> tuple[Place, ...]:
        """What is trained on, in order."""
        return places(self.samples, self.multiplicities)

    def hash(self) -> str:
        """SHA-256 (hex) of the batch: identity, cuts and every bit of every sample."""
        digest = hashlib.sha256(canonical([self.run_id, self.step, self.lineage, list(self.mini_batch_ends)]))
        if self.multiplicities:
            digest.update(canonical(list(self.multiplicities)))
        digest.update(canonical([_scalars(sample) for sample in self.samples]))
        for name in ARRAYS:
            arrays = [getattr(sample, name) for sample in self.samples]
            digest.update(np.array([len(array) for array in arrays], "<i8").tobytes())
            digest.update(np.concatenate(arrays).tobytes())
        return digest.hexdigest()


def _scalars(sample: JournalSample) -> list[JsonValue]:
    spans: list[JsonValue] = [[span.version, span.length] for span in sample.spans]
    return [
        *(sample.draw, sample.index, sample.prompt_length, sample.finish_reason.value, sample.num_turns),
        *(sample.grader_version, sample.incarnation, sample.response, sample.seconds),
        spans,
        dict(sample.metrics),
    ]
