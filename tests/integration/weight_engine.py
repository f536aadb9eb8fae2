"""An engine's receiving half in a process of its own, which can be told to stop or die in the middle of a copy.

Orders on standard input: `fetch VERSION`, `stop VERSION` (SIGSTOP to itself once the first bytes are there) and
`kill VERSION` (SIGKILL likewise). Says `staging VERSION` before the bytes are copied, then
`fetched VERSION DIGEST TRANSPORT` or `failed VERSION ERROR`.
"""

import asyncio
import os
import signal
import sys
import threading

import numpy as np

from tetrad_rollout.weights.errors import FetchError
from tetrad_rollout.weights.receiver import WeightReceiver
from tetrad_telemetry.logs import configure
from tetrad_transport import ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Bytes, WeightsError, verify
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import Manifest, WeightTransport

SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}


def say(*words: object) -> None:
    print(*words, flush=True)


def signal_in_mid_copy(buffer: Bytes, number: signal.Signals) -> None:
    while not buffer[0]:
        pass
    os.kill(os.getpid(), number)


async def fetch(receiver: WeightReceiver, order: str, version: PolicyVersion) -> None:
    buffers: list[Bytes] = []

    def stage(manifest: Manifest) -> Bytes:
        buffers.append(np.zeros(manifest.num_bytes, dtype=np.uint8))
        if order in SIGNALS:
            threading.Thread(target=signal_in_mid_copy, args=(buffers[0], SIGNALS[order]), daemon=True).start()
        say("staging", version)
        return buffers[0]

    try:
        manifest = await receiver.fetch(version, stage)
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
        num_threads=1,
    )
    while line := await asyncio.to_thread(sys.stdin.readline):
        order, version = line.split()
        await fetch(receiver, order, PolicyVersion(int(version)))
    receiver.close()
    connection.close()
    transport.close()


configure(service="engine", format="json", level="info", stream=sys.stderr)
asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
