"""An engine's receiving half in a process of its own, which can be told to stop or die in the middle of a copy.

Orders on standard input: `fetch VERSION`, `stop VERSION` (SIGSTOP to itself once the first bytes are there) and
`kill VERSION` (SIGKILL likewise). Says `staging VERSION` before the bytes are copied, then
`fetched VERSION DIGEST TRANSPORT` or `failed VERSION ERROR`. With ON_GPU set, its stage is memory of the first GPU.
"""

import asyncio
import functools
import os
import signal
import sys
import threading
from collections.abc import Sequence

import numpy as np

from tetrad_rollout.weights.errors import FetchError
from tetrad_rollout.weights.receiver import WeightReceiver
from tetrad_telemetry.logs import configure
from tetrad_transport import ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Bytes, DigestMismatchError, WeightsError, verify
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import DeviceHandle, Manifest, WeightTransport

ON_GPU = bool(os.environ.get("ON_GPU"))
SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}


def say(*words: object) -> None:
    print(*words, flush=True)


def signal_in_mid_copy(buffer: Bytes, number: signal.Signals) -> None:
    while not buffer[0]:
        pass
    os.kill(os.getpid(), number)


def copy_on_device(manifest: Manifest, handle: DeviceHandle) -> None:
    """As SGLang's stage does: copy, then digest the copy."""
    import torch

    from tetrad_devices.digest import sum64

    with maps().attach(handle) as source:
        buffer = torch.empty_like(source).copy_(source)
        torch.cuda.synchronize()
    parts = [buffer[spec.offset : spec.offset + spec.num_bytes] for spec in manifest.tensors]
    for spec, found in zip(manifest.tensors, sum64(parts), strict=True):
        if found != spec.digest:
            raise DigestMismatchError(tensor=spec.name, expected=spec.digest, actual=found)


@functools.cache
def maps():
    """Kept from one version to the next: a handle is opened once."""
    from tetrad_devices.maps import DeviceMaps

    return DeviceMaps()


def gpu() -> str:
    """UUID of the GPU that this engine is on."""
    if not ON_GPU:
        return ""
    from tetrad_devices.facts import uuid_of

    return uuid_of()


async def fetch(receiver: WeightReceiver, order: str, version: PolicyVersion) -> None:
    buffers: list[Bytes] = []

    def stage(manifest: Manifest) -> Bytes:
        buffers.append(np.zeros(manifest.num_bytes, dtype=np.uint8))
        if order in SIGNALS:
            threading.Thread(target=signal_in_mid_copy, args=(buffers[0], SIGNALS[order]), daemon=True).start()
        say("staging", version)
        return buffers[0]

    async def stage_on_device(manifest: Manifest, handle: DeviceHandle, _others: Sequence[DeviceHandle]) -> None:
        say("staging", version)
        await asyncio.to_thread(copy_on_device, manifest, handle)

    try:
        manifest = await receiver.fetch(version, stage, stage_on_device if ON_GPU else None)
        if buffers:
            verify(manifest, buffers[0])
    except (FetchError, WeightsError) as error:
        say("failed", version, f"{type(error).__name__}: {error}")
    else:
        say("fetched", version, manifest.digest, receiver.statistics().last_transport)


async def main(endpoint: str, name: str, timeout_s: float, transports: str) -> None:
    transport = ZmqTransport(allow_clear_tcp=True)
    connection = transport.connect(endpoint, name=name)
    receiver = WeightReceiver(
        connection,
        incarnation=new_incarnation(),
        replica=name,
        timeout_s=timeout_s,
        transports=[WeightTransport(transport) for transport in transports.split(",")],
        gpu=gpu(),
        num_threads=1,
    )
    while line := await asyncio.to_thread(sys.stdin.readline):
        order, version = line.split()
        await fetch(receiver, order, PolicyVersion(int(version)))
    await receiver.end_group()
    receiver.close()
    connection.close()
    transport.close()


configure(service="engine", format="json", level="info", stream=sys.stderr)
asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
