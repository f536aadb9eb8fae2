"""Steps, publications and checkpoints of the ranks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tetrad_testing.builders.membership import memory_figures
from tetrad_testing.builders.values import DIGEST, INCARNATION, Changes
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages import steps


def a_ready_rank(**changes: Changes) -> steps.RankReady:
    """Rank 0 of 2."""
    fields: dict[str, Any] = {
        "rank": 0,
        "world_size": 2,
        "incarnation": INCARNATION,
        "pid": 4712,
        "step": 0,
    }
    return steps.RankReady(**fields | changes)


def a_step(*, lengths: Sequence[int] = (7, 5), **changes: Changes) -> steps.ExecuteStep:
    """A step whose whole batch is on one rank, two samples a group."""
    num_samples, num_tokens = len(lengths), sum(lengths)
    fields: dict[str, Any] = {
        "step": 1,
        "lineage": 1,
        "batch_hash": DIGEST,
        "token_ids": np.arange(num_tokens, dtype=np.int32),
        "lengths": np.array(lengths, dtype=np.int32),
        "loss_mask": np.ones(num_tokens, dtype=np.uint8),
        "rollout_logprobs": np.full(num_tokens, -0.5, dtype=np.float32),
        "sample_index": np.arange(num_samples, dtype=np.int32),
        "mini_batch": np.zeros(num_samples, dtype=np.int32),
        "rewards": np.arange(num_samples, dtype=np.float32),
        "groups": np.arange(num_samples, dtype=np.int32) // 2,
    }
    return steps.ExecuteStep(**fields | changes)


def a_progress(**changes: Changes) -> steps.StepProgressed:
    """Three micro-batches done."""
    fields: dict[str, Any] = {
        "rank": 0,
        "step": 1,
        "num_micro_batches": 3,
    }
    return steps.StepProgressed(**fields | changes)


def an_execution(**changes: Changes) -> steps.StepExecuted:
    """By rank 0."""
    fields: dict[str, Any] = {
        "rank": 0,
        "step": 1,
        "lineage": 1,
        "metrics": {"loss": 0.125},
    }
    return steps.StepExecuted(**fields | changes)


def a_credit(**changes: Changes) -> steps.StepCredited:
    """Two samples of rank 0, one better than the other."""
    fields: dict[str, Any] = {
        "rank": 0,
        "step": 1,
        "lineage": 1,
        "sample_index": np.array([0, 1], dtype=np.int32),
        "advantages": np.array([0.5, -0.5], dtype=np.float32),
    }
    return steps.StepCredited(**fields | changes)


def a_failed_rank(**changes: Changes) -> steps.RankFailed:
    """Rank 1 cannot publish."""
    fields: dict[str, Any] = {
        "rank": 1,
        "incarnation": INCARNATION,
        "reason": "publishing version 3: SegmentsBusyError: all 4 segments are being read",
    }
    return steps.RankFailed(**fields | changes)


def a_failed_step(**changes: Changes) -> steps.StepFailed:
    """A loss that is not finite."""
    fields: dict[str, Any] = {
        "rank": 0,
        "step": 1,
        "lineage": 1,
        "reason": "loss is nan",
        "evidence": "outputs/run-1/poisoned/1",
    }
    return steps.StepFailed(**fields | changes)


def a_publish_order(**changes: Changes) -> steps.PublishWeights:
    """Version 2 after step 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(2),
        "step": 1,
        "broadcaster": "ipc:///tmp/tetrad/broadcaster",
    }
    return steps.PublishWeights(**fields | changes)


def a_published(**changes: Changes) -> steps.WeightsPublished:
    """Version 2 is with the broadcaster."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(2),
        "digest": DIGEST,
        "num_bytes": 32,
        "seconds": 0.02,
    }
    return steps.WeightsPublished(**fields | changes)


def a_failed_publish(**changes: Changes) -> steps.PublishFailed:
    """The broadcaster is silent."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(2),
        "reason": "no reply within 60 s",
    }
    return steps.PublishFailed(**fields | changes)


def a_save_order(**changes: Changes) -> steps.SaveCheckpoint:
    """After step 1."""
    fields: dict[str, Any] = {
        "step": 1,
        "folder": "outputs/run-1/checkpoints/.tmp-1",
    }
    return steps.SaveCheckpoint(**fields | changes)


def a_saved(**changes: Changes) -> steps.CheckpointSaved:
    """By rank 0."""
    fields: dict[str, Any] = {
        "rank": 0,
        "step": 1,
        "seconds": 1.5,
    }
    return steps.CheckpointSaved(**fields | changes)


def a_move(**changes: Changes) -> steps.MoveState:
    """To the host."""
    fields: dict[str, Any] = {"place": steps.StatePlace.HOST}
    return steps.MoveState(**fields | changes)


def a_moved_state(**changes: Changes) -> steps.StateMoved:
    """By rank 0, to the host."""
    fields: dict[str, Any] = {
        "rank": 0,
        "place": steps.StatePlace.HOST,
        "num_bytes": 4096,
        "seconds": 0.25,
        "figures": memory_figures(),
    }
    return steps.StateMoved(**fields | changes)


def a_copied(**changes: Changes) -> steps.CheckpointCopied:
    """By rank 0."""
    fields: dict[str, Any] = {
        "rank": 0,
        "step": 1,
        "seconds": 0.25,
    }
    return steps.CheckpointCopied(**fields | changes)


def a_failed_save(**changes: Changes) -> steps.CheckpointFailed:
    """The disk is full."""
    fields: dict[str, Any] = {
        "rank": 0,
        "step": 1,
        "reason": "OSError: [Errno 28] No space left on device",
    }
    return steps.CheckpointFailed(**fields | changes)
