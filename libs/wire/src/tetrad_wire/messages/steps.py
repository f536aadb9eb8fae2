"""Coordinator and trainer ranks: steps to execute, versions to publish, checkpoints to write."""

from enum import StrEnum

import msgspec
import numpy as np

from tetrad_wire.arrays import require, require_range
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.membership import MemoryFigures


class RankReady(msgspec.Struct, frozen=True, kw_only=True):
    """A rank has loaded its shard and waits for work."""

    rank: int
    """From 0."""
    world_size: int
    """Ranks of the set."""
    incarnation: Incarnation
    """Of the set of ranks; the coordinator names it when it starts them."""
    pid: int
    """Process id of the rank."""
    step: int
    """Training step that the loaded weights have executed."""
    figures: MemoryFigures | None = None
    """Bytes at this moment, where learner and engines share their GPUs."""


class ExecuteStep(msgspec.Struct, frozen=True, kw_only=True):
    """Run one training step on this rank's samples; answered by StepExecuted or StepFailed."""

    step: int
    """Training step."""
    lineage: int
    """Attempt that the step belongs to; a reload of the ranks opens a new one."""
    batch_hash: str
    """Of the whole ordered batch; the ranks agree on it before the first forward."""
    token_ids: np.ndarray
    """int32: all tokens of this rank's samples, one after the other."""
    lengths: np.ndarray
    """int32[n]: tokens of each of this rank's samples."""
    loss_mask: np.ndarray
    """uint8, aligned with token_ids."""
    rollout_logprobs: np.ndarray
    """float32, aligned with token_ids."""
    sample_index: np.ndarray
    """int32[n]: position in the ordered batch of the step."""
    mini_batch: np.ndarray
    """int32[n]: optimizer step of this rank's samples."""
    rewards: np.ndarray
    """float32[N] of the whole batch."""
    groups: np.ndarray
    """int32[N] of the whole batch: ordinal of each sample's group."""

    def __post_init__(self) -> None:
        """Arrays have the types and lengths above, rewards are finite, samples lie within the batch."""
        require(self.lengths, "lengths", "int32")
        require_range(self.lengths, "lengths", low=0)
        num_tokens, num_samples = int(self.lengths.sum()), len(self.lengths)
        require(self.token_ids, "token_ids", "int32", length=num_tokens)
        require(self.loss_mask, "loss_mask", "uint8", length=num_tokens)
        require(self.rollout_logprobs, "rollout_logprobs", "float32", length=num_tokens)
        require(self.sample_index, "sample_index", "int32", length=num_samples)
        require(self.mini_batch, "mini_batch", "int32", length=num_samples)
        require(self.rewards, "rewards", "float32")
        require(self.groups, "groups", "int32", length=len(self.rewards))
        require_range(self.sample_index, "sample_index", low=0, high=len(self.rewards) - 1)
        if not np.isfinite(self.rewards).all():
            raise ValueError("rewards must be finite")


class StepProgressed(msgspec.Struct, frozen=True, kw_only=True):
    """Sent for each micro-batch; silence beyond a deadline kills the set of ranks."""

    rank: int
    """From 0."""
    step: int
    """Training step."""
    num_micro_batches: int
    """Done so far."""


class StepExecuted(msgspec.Struct, frozen=True, kw_only=True):
    """The optimizer steps of one training step are done on this rank."""

    rank: int
    """From 0."""
    step: int
    """Training step."""
    lineage: int
    """Of the ExecuteStep."""
    metrics: dict[str, float] = {}
    """From rank 0 only, already reduced over ranks."""
    figures: MemoryFigures | None = None
    """Bytes at this moment, where learner and engines share their GPUs."""


class StepCredited(msgspec.Struct, frozen=True, kw_only=True):
    """What the samples of this rank turned out to be worth; sent before StepExecuted, for the eyes only."""

    rank: int
    """From 0."""
    step: int
    """Training step."""
    lineage: int
    """Of the ExecuteStep."""
    sample_index: np.ndarray
    """int32[n]: position of each of this rank's samples in the ordered batch of the step."""
    advantages: np.ndarray
    """float32[n]: mean over the trained tokens of each sample; NaN where none is trained."""

    def __post_init__(self) -> None:
        """Arrays have the types and lengths above."""
        require(self.sample_index, "sample_index", "int32")
        require_range(self.sample_index, "sample_index", low=0)
        require(self.advantages, "advantages", "float32", length=len(self.sample_index))


class StepFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The step gave a non-finite loss or gradient; nothing was applied."""

    rank: int
    """From 0."""
    step: int
    """Training step."""
    lineage: int
    """Of the ExecuteStep."""
    reason: str
    """What was not finite."""
    evidence: str
    """Folder of the dumped batch."""


class RankFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A rank cannot go on: the others, which may be waiting for it, are ended with it at once."""

    rank: int
    """From 0."""
    incarnation: Incarnation
    """Of the set of ranks."""
    reason: str
    """What it did and what happened."""
    shrink_by: int = 0
    """By how much smaller all micro-batches must be for memory to suffice again; 0 where that is no remedy."""


class PublishWeights(msgspec.Struct, frozen=True, kw_only=True):
    """Publish the current weights under a version; answered by WeightsPublished."""

    version: PolicyVersion
    step: int
    """Training step that made the weights; 0 is the initial model."""
    broadcaster: str
    """Endpoint of the broadcaster."""
    broadcaster_key: str = ""
    """Key by which the broadcaster is known to the coordinator; empty where no keys are used."""


class WeightsPublished(msgspec.Struct, frozen=True, kw_only=True):
    """The broadcaster has accepted the version."""

    version: PolicyVersion
    digest: str
    """Of the manifest."""
    num_bytes: int
    """Of the whole layout."""
    seconds: float
    """From order to acceptance."""


class PublishFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The broadcaster did not take the version in time; the coordinator decides."""

    version: PolicyVersion
    reason: str
    """For the log."""


class SaveCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Copy model and trainer state, and write the copy into an existing temporary folder while other orders are obeyed.

    Answered by CheckpointCopied at once, and by CheckpointSaved or CheckpointFailed in the end.
    """

    step: int
    """Training step that the weights have executed."""
    folder: str
    """Path; it is renamed once all ranks have answered."""


class CheckpointCopied(msgspec.Struct, frozen=True, kw_only=True):
    """One rank holds a copy of its part of the checkpoint: its weights may change again."""

    rank: int
    """From 0."""
    step: int
    """Of the SaveCheckpoint."""
    seconds: float
    """Time that the copy took, for which training stood still."""


class CheckpointFailed(msgspec.Struct, frozen=True, kw_only=True):
    """One rank could not write its part: the checkpoint will not be; the coordinator decides."""

    rank: int
    """From 0."""
    step: int
    """Of the SaveCheckpoint."""
    reason: str
    """For the log."""


class CheckpointSaved(msgspec.Struct, frozen=True, kw_only=True):
    """One rank's part of the checkpoint is on disk."""

    rank: int
    """From 0."""
    step: int
    """Of the SaveCheckpoint."""
    seconds: float
    """Time that writing took."""


class StatePlace(StrEnum):
    """Where a rank keeps its parameters, moments, reference and critic."""

    DEVICE = "device"
    """Where it computes: it can execute, publish and save."""
    HOST = "host"
    """In the host's memory: its GPU is free for an engine."""


class MoveState(msgspec.Struct, frozen=True, kw_only=True):
    """Bring all that a rank holds to another place; answered by StateMoved. Repeating it is safe."""

    place: StatePlace


class StateMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a rank holds is where MoveState said."""

    rank: int
    """From 0."""
    place: StatePlace
    num_bytes: int
    """That were moved; 0 where both places are one memory."""
    seconds: float
    """Time that it took."""
    figures: MemoryFigures
    """Bytes afterwards."""
