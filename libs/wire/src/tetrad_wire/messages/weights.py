"""Policy versions on their way from the learner to the engines: manifests and handles, and bytes only in chunks.

How the bytes reach an engine is the offer's `transport`; everything else is the same for each of them.
"""

from enum import StrEnum
from typing import Final

import msgspec
import numpy as np

from tetrad_wire.arrays import require
from tetrad_wire.ids import Incarnation, PolicyVersion

MAX_CHUNK_BYTES: Final = 4 << 20
"""Large enough that a message costs nothing beside its bytes, small enough that a few fit anywhere."""


class WeightTransport(StrEnum):
    """How the bytes of a version reach an engine."""

    CUDA_IPC = "cuda_ipc"
    """The engine reads a rank's memory on the GPU that both are on."""
    SHARED_MEMORY = "shared_memory"
    """The engine reads the broadcaster's segment."""
    NCCL = "nccl"
    """A sender of the broadcaster and a receiver of the engine are a process group; on the host by gloo."""
    SOCKET = "socket"
    """The engine asks for chunks over its connection to the broadcaster."""


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where one tensor lies in the flat layout."""

    name: str
    """Hugging Face parameter name."""
    dtype: str
    """Such as `float32` or `bfloat16`."""
    shape: tuple[int, ...]
    """Elements along each axis."""
    offset: int
    """Bytes from the start of the layout."""
    num_bytes: int
    """Of this tensor."""
    digest: str = ""
    """Of these bytes, by the manifest's algorithm."""


class AdapterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the adapters of a version belong to; the engine computes with base + alpha / rank · B·A."""

    base: str
    """Manifest digest of the weights below the adapters, in the engines' number format and the model's own order."""
    rank: int
    """Of B·A."""
    alpha: float
    """B·A is scaled by alpha / rank."""
    target_modules: tuple[str, ...]
    """Names of the layers that have one."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy version is made of."""

    algorithm: str
    """`xxh3_128` or `sum64`."""
    tensors: tuple[TensorSpec, ...]
    """In the order of the layout."""
    num_bytes: int
    """Of the whole layout."""
    digest: str
    """Over the names, dtypes, shapes, offsets and digests of all tensors, and over `adapter`."""
    adapter: AdapterSpec | None = None
    """Set where the tensors are adapters alone, under peft's names; nil where they are all weights."""


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner says of fixed tokens with a version's weights; an engine that has them says nearly the same."""

    token_ids: tuple[int, ...]
    """The fixed tokens."""
    logprobs: tuple[float, ...]
    """Of each of them as the token that follows them all, at temperature 1."""


class SegmentHandle(msgspec.Struct, frozen=True, kw_only=True):
    """A POSIX shared-memory segment that its exporter owns."""

    name: str
    """In `/dev/shm`."""
    num_bytes: int
    """Of the segment's content."""
    nonce: str
    """Written in the segment's header; read back before use, so that reachability is proved."""


class DeviceHandle(msgspec.Struct, frozen=True, kw_only=True):
    """GPU memory that its exporter owns, for one importer on the same GPU; plain bytes and integers of CUDA IPC."""

    gpu: str
    """UUID."""
    gate: SegmentHandle
    """A small segment of the exporter whose lock and nonce stand for the memory's."""
    memory: bytes
    """CUDA's handle of the allocation."""
    storage_bytes: int
    """Of the allocation."""
    storage_offset: int
    """Bytes from the start of the allocation to the storage."""
    counter: bytes
    """Name of the exporter's reference counter."""
    counter_offset: int
    """Where in it this handle is counted."""
    event: bytes
    """CUDA's handle of the event after which the bytes are there; may be empty."""
    needs_event: bool
    """Whether the event must be waited for."""
    offset: int
    """Bytes from the start of the storage to the layout."""
    num_bytes: int
    """Of the layout."""


class PublishVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Rank 0 offers a version to the broadcaster; answered by VersionAccepted or VersionRefused."""

    version: PolicyVersion
    step: int
    """Training step that made it; 0 is the initial model."""
    manifest: Manifest
    segment: SegmentHandle | None = None
    """Where the bytes lie in host memory; nil where only engines on the GPUs of `devices` are served."""
    devices: tuple[DeviceHandle, ...] = ()
    """Where the same bytes lie on GPUs, one handle for each GPU and consumer."""
    relay: DeviceHandle | None = None
    """Where the same bytes lie on rank 0's GPU, for a copy of the broadcaster's own; nil where it needs none."""
    canary: Canary | None = None
    """For `generator.verify_sync`; nil where engines are not compared with the learner."""


class VersionAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The broadcaster has its own verified copy; the learner may reuse the segment."""

    version: PolicyVersion
    digest: str
    """Of the manifest."""
    seconds: float = 0.0
    """Time that the copy and its verification took."""


class VersionRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The broadcaster could not take the version."""

    version: PolicyVersion
    reason: str
    """For the log."""
    may_retry: bool = False
    """Whether the same request may succeed later, for instance once a segment is free."""


class PullVersion(msgspec.Struct, frozen=True, kw_only=True):
    """An engine asks for a version; answered by VersionOffered or VersionUnavailable.

    It implies that whatever this incarnation was offered before is released.
    """

    version: PolicyVersion
    incarnation: Incarnation
    name: str = ""
    """Stable name of the replica, for logs and metrics."""
    pid: int = 0
    """Of the process that will read; 0 where it does not share the broadcaster's host."""
    gpu: str = ""
    """UUID of the GPU whose memory the engine reads from other processes; empty where it reads host memory only."""
    other_gpus: tuple[str, ...] = ()
    """UUIDs of the further GPUs that the engine is split over."""
    started: int = 0
    """When that process started, in clock ticks after boot (field 22 of /proc/PID/stat): a pid alone is used again."""
    pid_space: str = ""
    """Boot and pid namespace in which `pid` means something; empty is that of the broadcaster, which knows no other."""
    transports: tuple[WeightTransport, ...] = (WeightTransport.SHARED_MEMORY,)
    """Those that this engine can use, the preferred one first; one that it found unusable is left out."""
    group: str = ""
    """Name of the process group that its receiver is in; empty without one, and then `nccl` means nothing."""
    attempt: int = 0
    """Counted by the engine; the same question sent again has the same number, and what is being sent goes on."""
    base: PolicyVersion | None = None
    """Reserved: a version that the engine holds, against which a lossless delta may be offered. Never set yet."""

    def __post_init__(self) -> None:
        """Name a way."""
        if not self.transports:
            raise ValueError("a pull must name a transport")


class VersionOffered(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes may be had by `transport` until SegmentReleased or `deadline_s`."""

    version: PolicyVersion
    manifest: Manifest
    transport: WeightTransport = WeightTransport.SHARED_MEMORY
    """The first of the pull's transports that the broadcaster can serve."""
    segment: SegmentHandle | None = None
    """Where the bytes lie; of `shared_memory` only."""
    device: DeviceHandle | None = None
    """Where the bytes lie; of `cuda_ipc` only."""
    group: str = ""
    """Name of the process group that the bytes are sent in; of `nccl` only."""
    other_devices: tuple[DeviceHandle, ...] = ()
    """Where the same bytes lie on the pull's `other_gpus`, as far as they do; of `cuda_ipc` only."""
    canary: Canary | None = None
    """As published."""
    deadline_s: float
    """The bytes stay at least this long, unless an engine that asks for chunks falls silent."""
    base: PolicyVersion | None = None
    """Reserved: the version that the bytes are a lossless delta against. Nil, the only value yet, means all bytes."""

    def __post_init__(self) -> None:
        """A handle for the transport that needs one."""
        if self.transport is WeightTransport.SHARED_MEMORY and self.segment is None:
            raise ValueError("an offer by shared_memory must name its segment")
        if self.transport is WeightTransport.CUDA_IPC and self.device is None:
            raise ValueError("an offer by cuda_ipc must name its memory")
        if self.transport is WeightTransport.NCCL and not self.group:
            raise ValueError("an offer by nccl must name its group")


class PullChunk(msgspec.Struct, frozen=True, kw_only=True):
    """An engine asks for bytes of the version that it was offered by `socket`; answered by VersionChunk.

    Answered by VersionUnavailable where the offer no longer stands or the version was superseded. Asking again for what
    is still on its way is not answered.
    """

    version: PolicyVersion
    incarnation: Incarnation
    offset: int
    """Bytes from the start of the layout."""
    num_bytes: int
    """At most 4 MiB."""

    def __post_init__(self) -> None:
        """Keep every chunk small."""
        if self.offset < 0 or not 0 < self.num_bytes <= MAX_CHUNK_BYTES:
            raise ValueError(
                f"chunk of {self.num_bytes} bytes at {self.offset}; it must have 1 to {MAX_CHUNK_BYTES} at 0 or later"
            )


class VersionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a version; they are verified by the digests of the manifest."""

    version: PolicyVersion
    offset: int
    """Bytes from the start of the layout."""
    data: np.ndarray
    """uint8, as many as were asked for."""

    def __post_init__(self) -> None:
        """Bytes, no other numbers."""
        require(self.data, "data", "uint8")


class VersionUnavailable(msgspec.Struct, frozen=True, kw_only=True):
    """The broadcaster does not hold that version now, or does not owe it to this engine; pull again."""

    version: PolicyVersion
    holds: tuple[PolicyVersion, ...]
    """Versions that it could offer."""
    reason: str
    """For the log."""
    needs_group: bool = False
    """Whether it would be offered by `nccl` to an engine that is in a process group."""


class SegmentReleased(msgspec.Struct, frozen=True, kw_only=True):
    """The importer has every byte and has verified them, or it has given up; whatever was offered is free again."""

    version: PolicyVersion
    incarnation: Incarnation
    digest: str
    """Of what was read; empty when it gave up."""
    reason: str = ""
    """Why it gave up."""
