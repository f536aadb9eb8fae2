"""Versions on their way to the engines."""

from typing import Any

import numpy as np

from tetrad_testing.builders.values import DIGEST, INCARNATION, Changes
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages import weights


def a_tensor_spec(**changes: Changes) -> weights.TensorSpec:
    """A 4×2 matrix."""
    fields: dict[str, Any] = {
        "name": "model.embed_tokens.weight",
        "dtype": "float32",
        "shape": (4, 2),
        "offset": 0,
        "num_bytes": 32,
        "digest": DIGEST,
    }
    return weights.TensorSpec(**fields | changes)


def a_manifest(**changes: Changes) -> weights.Manifest:
    """Of one tensor."""
    fields: dict[str, Any] = {
        "algorithm": "xxh3_128",
        "tensors": (a_tensor_spec(),),
        "num_bytes": 32,
        "digest": DIGEST,
    }
    return weights.Manifest(**fields | changes)


def a_segment(**changes: Changes) -> weights.SegmentHandle:
    """Of one manifest's size."""
    fields: dict[str, Any] = {
        "name": "tetrad-run-1-0",
        "num_bytes": 32,
        "nonce": "nonce-segment",
    }
    return weights.SegmentHandle(**fields | changes)


def a_publication(**changes: Changes) -> weights.PublishVersion:
    """Version 1 offered to the broadcaster."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "step": 0,
        "manifest": a_manifest(),
        "segment": a_segment(),
    }
    return weights.PublishVersion(**fields | changes)


def an_acceptance(**changes: Changes) -> weights.VersionAccepted:
    """Of version 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "digest": DIGEST,
        "seconds": 0.01,
    }
    return weights.VersionAccepted(**fields | changes)


def a_refused_version(**changes: Changes) -> weights.VersionRefused:
    """Of version 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "reason": "tensor 0 has another digest",
    }
    return weights.VersionRefused(**fields | changes)


def a_pull(**changes: Changes) -> weights.PullVersion:
    """Of version 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "incarnation": INCARNATION,
    }
    return weights.PullVersion(**fields | changes)


def an_offer(**changes: Changes) -> weights.VersionOffered:
    """Of version 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "manifest": a_manifest(),
        "segment": a_segment(),
        "deadline_s": 60.0,
    }
    return weights.VersionOffered(**fields | changes)


def an_unavailability(**changes: Changes) -> weights.VersionUnavailable:
    """Version 2 of a broadcaster that holds 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(2),
        "holds": (PolicyVersion(1),),
        "reason": "not published yet",
    }
    return weights.VersionUnavailable(**fields | changes)


def a_release(**changes: Changes) -> weights.SegmentReleased:
    """After a verified copy."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "incarnation": INCARNATION,
        "digest": DIGEST,
    }
    return weights.SegmentReleased(**fields | changes)


def a_chunk_pull(**changes: Changes) -> weights.PullChunk:
    """The last 16 bytes of version 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "incarnation": INCARNATION,
        "offset": 16,
        "num_bytes": 16,
    }
    return weights.PullChunk(**fields | changes)


def a_chunk(**changes: Changes) -> weights.VersionChunk:
    """The last 16 bytes of version 1."""
    fields: dict[str, Any] = {
        "version": PolicyVersion(1),
        "offset": 16,
        "data": np.arange(16, dtype=np.uint8),
    }
    return weights.VersionChunk(**fields | changes)
