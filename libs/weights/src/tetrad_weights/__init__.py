"""Weights in transit: layout, manifest, digests and shared-memory segments. Bytes and arithmetic, no torch."""

from tetrad_weights.attachments import Attachment, Maps, attach
from tetrad_weights.copying import copy_and_digest, copy_verified
from tetrad_weights.digest import Bytes, DigestAlgorithm, digest
from tetrad_weights.errors import (
    ChunkOrderError,
    CopyStoppedError,
    DigestMismatchError,
    GroupBrokenError,
    GroupUnusableError,
    ManifestError,
    SegmentAllocationError,
    SegmentsBusyError,
    TransportUnusableError,
    WeightsError,
)
from tetrad_weights.layout import Layout, Parameter, lay_out
from tetrad_weights.manifest import build, check, verify
from tetrad_weights.ring import SegmentRing
from tetrad_weights.segments import Segment
from tetrad_weights.sweeping import sweep
from tetrad_weights.writing import VersionWriter

__all__ = [
    "Attachment",
    "Bytes",
    "ChunkOrderError",
    "CopyStoppedError",
    "DigestAlgorithm",
    "DigestMismatchError",
    "GroupBrokenError",
    "GroupUnusableError",
    "Layout",
    "ManifestError",
    "Maps",
    "Parameter",
    "Segment",
    "SegmentAllocationError",
    "SegmentRing",
    "SegmentsBusyError",
    "TransportUnusableError",
    "VersionWriter",
    "WeightsError",
    "attach",
    "build",
    "check",
    "copy_and_digest",
    "copy_verified",
    "digest",
    "lay_out",
    "sweep",
    "verify",
]
