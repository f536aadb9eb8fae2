"""Leases, samples, acknowledgements."""

from typing import Any

import numpy as np

from tetrad_testing.builders.values import INCARNATION, Changes
from tetrad_wire.ids import Draw, PolicyVersion, Token
from tetrad_wire.messages import leases


def a_prompt(**changes: Changes) -> leases.Prompt:
    """A sum of two numbers."""
    fields: dict[str, Any] = {
        "messages": (leases.ChatMessage("user", "37+58="),),
        "env_class": "arithmetic",
        "ground_truth": "95",
        "extras": {"split": "train", "difficulty": 2},
        "uid": "dataset-1:7",
    }
    return leases.Prompt(**fields | changes)


def a_lease(**changes: Changes) -> leases.LeaseGranted:
    """Of a training group of two samples."""
    fields: dict[str, Any] = {
        "token": Token(5),
        "nonce": "nonce-5",
        "lane": leases.Lane.TRAIN,
        "draw": Draw(7),
        "prompt": a_prompt(),
        "indices": (0, 1),
        "seeds": (11, 12),
        "sampling": leases.SamplingParams(max_generate_length=4, stop_token_ids=(1,)),
        "version_min": PolicyVersion(1),
        "grader_version": "arithmetic-1",
        "progress_timeout_s": 30.0,
        "hard_timeout_s": 120.0,
    }
    return leases.LeaseGranted(**fields | changes)


def a_renewal(**changes: Changes) -> leases.LeasesRenewed:
    """Progress of two leases."""
    fields: dict[str, Any] = {
        "incarnation": INCARNATION,
        "tokens": (Token(5), Token(6)),
        "progress": (17, 3),
    }
    return leases.LeasesRenewed(**fields | changes)


def a_return(**changes: Changes) -> leases.LeaseReturned:
    """A whole lease given back."""
    fields: dict[str, Any] = {
        "token": Token(5),
        "kind": leases.FailureKind.INFRA,
        "reason": "the engine stopped",
        "nonce": "nonce-5",
    }
    return leases.LeaseReturned(**fields | changes)


def a_revocation(**changes: Changes) -> leases.LeaseRevoked:
    """A lease taken away."""
    fields: dict[str, Any] = {
        "token": Token(5),
        "reason": "no progress for 30 s",
    }
    return leases.LeaseRevoked(**fields | changes)


def a_sample(
    *, prompt_length: int = 3, num_sampled: int = 4, version: int = 1, reward: float = 1.0, **changes: Changes
) -> leases.SampleFinished:
    """One turn of `num_sampled` tokens after the prompt, drawn by one version, rewarded at its end."""
    length = prompt_length + num_sampled
    is_sampled = np.arange(length) >= prompt_length
    fields: dict[str, Any] = {
        "token": Token(5),
        "nonce": "nonce-5",
        "lane": leases.Lane.TRAIN,
        "draw": Draw(7),
        "index": 0,
        "incarnation": INCARNATION,
        "prompt_length": prompt_length,
        "finish_reason": leases.FinishReason.STOP,
        "num_turns": 1,
        "spans": (leases.VersionSpan(PolicyVersion(version), num_sampled),) if num_sampled else (),
        "grader_version": "arithmetic-1",
        "token_ids": np.arange(length, dtype=np.int32),
        "loss_mask": is_sampled.astype(np.uint8),
        "rollout_logprobs": np.where(is_sampled, -0.5, 0.0).astype(np.float32),
        "reward_positions": np.array([length - 1], dtype=np.int32),
        "reward_values": np.array([reward], dtype=np.float32),
        "metrics": {"exact": 1.0},
        "response": "95",
        "seconds": 0.25,
        "scores": {"strict": 0.0, "flexible": 1.0},
    }
    return leases.SampleFinished(**fields | changes)


def an_ack(**changes: Changes) -> leases.SampleAck:
    """Of sample 0 of draw 7."""
    fields: dict[str, Any] = {
        "token": Token(5),
        "lane": leases.Lane.TRAIN,
        "draw": Draw(7),
        "index": 0,
        "disposition": leases.Disposition.ACCEPTED,
    }
    return leases.SampleAck(**fields | changes)


def an_acknowledgement(**changes: Changes) -> leases.SamplesAcknowledged:
    """One sample accepted, one already there."""
    fields: dict[str, Any] = {
        "acks": (an_ack(), an_ack(index=1, disposition=leases.Disposition.DUPLICATE, reason="filled by token 4")),
    }
    return leases.SamplesAcknowledged(**fields | changes)
