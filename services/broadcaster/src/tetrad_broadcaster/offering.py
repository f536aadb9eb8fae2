"""What is offered to an engine: the same version by whichever transport the engine can use. Pure.

How the bytes then move is the transport's own business: engines read a segment by themselves, `chunks` sends what
they ask for, `senders` send in a process group.
"""

from collections.abc import Sequence
from functools import partial
from typing import assert_never

from tetrad_broadcaster.shelf import Held
from tetrad_wire.messages.weights import DeviceHandle, PullVersion, VersionOffered, WeightTransport


def choose(held: Held, pull: PullVersion) -> WeightTransport | None:
    """The first of the engine's transports by which this version can be had; None where there is none."""
    return next((transport for transport in pull.transports if _can_serve(held, transport, pull.gpu)), None)


def why_not(held: Held, transports: Sequence[WeightTransport]) -> str:
    """Why none of an engine's transports will do."""
    where = ", ".join(f"memory of GPU {device.gpu}" for device in held.devices) or "nowhere"
    return f"it lies in {where} and not in host memory, and the engine asked by {', '.join(transports)}"


def device_on(held: Held, gpu: str) -> DeviceHandle | None:
    """Where it lies on that GPU."""
    return next((device for device in held.devices if device.gpu == gpu), None)


def _can_serve(held: Held, transport: WeightTransport, gpu: str) -> bool:
    if transport is WeightTransport.CUDA_IPC:
        return device_on(held, gpu) is not None
    if transport is WeightTransport.NCCL and gpu:
        return bool(held.relay_gpu)
    # Whatever else an engine names can be served; one that cannot use it says so by leaving it out.
    return held.segment is not None


def offer(held: Held, transport: WeightTransport, *, pull: PullVersion, deadline_s: float) -> VersionOffered:
    """Offer a held version; the handle is that of the transport."""
    bare = partial(
        VersionOffered, version=held.version, manifest=held.manifest, transport=transport, canary=held.canary
    )
    match transport:
        case WeightTransport.CUDA_IPC:
            others = tuple(device for device in held.devices if device.gpu in pull.other_gpus)
            return bare(device=device_on(held, pull.gpu), other_devices=others, deadline_s=deadline_s)
        case WeightTransport.SHARED_MEMORY:
            return bare(segment=held.segment, deadline_s=deadline_s)
        case WeightTransport.NCCL:
            return bare(group=pull.group, deadline_s=deadline_s)
        case WeightTransport.SOCKET:
            return bare(deadline_s=deadline_s)
        case _:
            assert_never(transport)
