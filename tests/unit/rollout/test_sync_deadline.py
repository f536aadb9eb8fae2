"""An engine whose weights stop coming says at its deadline where: phase, chunk or bucket, ranks and peer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import numpy as np
import pytest

from tetrad_rollout.engine import BatchSettings
from tetrad_rollout.engine.fake import FakeRunner, random_table
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_rollout.metrics import RolloutMetrics
from tetrad_rollout.occupation import OccupationClock
from tetrad_rollout.weight_keeper import WeightKeeper
from tetrad_rollout.weights.nccl import Nccl
from tetrad_runtime.group_child import GroupChild
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders import INCARNATION, a_desired
from tetrad_testing.conformance.engine_site import eventually
from tetrad_transport import MemoryTransport
from tetrad_weights import build
from tetrad_weights.group_orders import Form, Formed, Listen, Listening
from tetrad_weights.group_sides import GLOO, child_environment
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.groups import FormGroup, GroupOpened
from tetrad_wire.messages.weights import (
    MAX_CHUNK_BYTES,
    PullChunk,
    PullVersion,
    VersionChunk,
    VersionOffered,
    VersionUnavailable,
)
from tetrad_wire.messages.weights import WeightTransport as Way

pytestmark = pytest.mark.timeout(240)

ENDPOINT = "inproc://broadcaster"
# Three chunks of a socket.
RUNNER = FakeRunner(random_table(vocab_size=1600, seed=0), eos_token_ids=(0,))
PAYLOAD = np.zeros(RUNNER.layout.num_bytes, np.uint8)
TIMEOUT_S = 3.0
TOLERANCE_S = 1.0
SOON_S = 120.0

Answer = Callable[[msgspec.Struct], msgspec.Struct | None]


def an_offer(transport: Way, *, group: str = "") -> VersionOffered:
    manifest = build(RUNNER.layout, PAYLOAD)
    return VersionOffered(
        version=PolicyVersion(1), manifest=manifest, transport=transport, group=group, deadline_s=SOON_S
    )


@contextlib.asynccontextmanager
async def a_broadcaster(answer: Answer) -> AsyncIterator[MemoryTransport]:
    """One that answers so; None is silence."""
    transport = MemoryTransport()
    listener = transport.listen(ENDPOINT)

    async def serve() -> None:
        while True:
            delivery = await listener.receive()
            if (reply := answer(delivery.message.body)) is not None:
                listener.send_nowait(delivery.peer, reply, reply_to=delivery.message.id)

    serving = asyncio.create_task(serve())
    try:
        yield transport
    finally:
        serving.cancel()
        await asyncio.wait({serving})


async def told(transport: MemoryTransport, way: Way, *, nccl: Nccl | None = None) -> tuple[str, float]:
    """What the engine says of its first attempt, and after how many seconds."""
    engine = ThreadedEngine(RUNNER, name="fake", settings=BatchSettings())
    keeper = WeightKeeper(
        engine,
        transport,
        name="rollout-0",
        incarnation=INCARNATION,
        timeout_s=TIMEOUT_S,
        on_change=lambda: None,
        observer=RolloutMetrics(Metrics("rollout", version="0")),
        clock=OccupationClock(),
        transports=(way,),
        nccl=nccl,
    )
    began = time.monotonic()
    task = asyncio.create_task(keeper.run())
    try:
        keeper.follow(a_desired(broadcaster=ENDPOINT))
        await eventually(lambda: keeper.progress is not None and keeper.progress.problem != "")
        seconds = time.monotonic() - began
        assert keeper.progress is not None
        return keeper.progress.problem, seconds
    finally:
        task.cancel()
        await asyncio.wait({task})
        await keeper.close()
        await engine.close()


async def test_chunks_that_stop_coming_are_named_at_the_deadline() -> None:
    def answer(asked: msgspec.Struct) -> msgspec.Struct | None:
        match asked:
            case PullVersion():
                return an_offer(Way.SOCKET)
            case PullChunk() if asked.offset < MAX_CHUNK_BYTES:
                data = PAYLOAD[asked.offset : asked.offset + asked.num_bytes]
                return VersionChunk(version=asked.version, offset=asked.offset, data=data)
            case _:
                return None

    async with a_broadcaster(answer) as transport:
        problem, seconds = await told(transport, Way.SOCKET)

    assert seconds == pytest.approx(TIMEOUT_S, abs=TOLERANCE_S)
    assert f"rollout-0 had not taken version 1 over within generator.weight_sync_timeout={TIMEOUT_S:g} s" in problem
    assert ": staging for " in problem
    assert f"from the broadcaster by socket at {ENDPOINT}: chunk 2 of 3; if that is slow" in problem


@contextlib.asynccontextmanager
async def a_group(transport: MemoryTransport, opened: list[GroupOpened]) -> AsyncIterator[Nccl]:
    """Our end of a group whose other end is a process that never sends."""
    environment = child_environment({})
    sender = await GroupChild.start("sender", (GLOO, ""), peer="rollout-0", environment=environment, timeout_s=SOON_S)
    nccl = Nccl(incarnation=INCARNATION, replica="rollout-0")
    connection = transport.connect(ENDPOINT, name="rollout-0")
    nccl.ask_by(connection.request)
    try:
        listening = await sender.ask(Listen(host="127.0.0.1", timeout_s=SOON_S), Listening, timeout_s=SOON_S)
        place = {"group": "g", "host": "127.0.0.1", "port": listening.port}
        sizes = {"bucket_bytes": MAX_CHUNK_BYTES, "test_bytes": 1 << 10}
        opened.append(GroupOpened(**place, **sizes))
        form = Form(**place, **sizes, timeout_s=SOON_S)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sender.ask(form, Formed, timeout_s=SOON_S))
            tasks.create_task(nccl.form(is_on_gpu=False, start_s=SOON_S, limit_s=SOON_S))
        opened.clear()
        yield nccl
    finally:
        await nccl.end()
        await sender.kill()
        connection.close()


@pytest.mark.long
async def test_a_sender_that_stalls_in_a_collective_is_named_with_bucket_and_ranks_at_the_deadline() -> None:
    opened: list[GroupOpened] = []

    def answer(asked: msgspec.Struct) -> msgspec.Struct | None:
        match asked:
            case PullVersion(group="g"):
                return an_offer(Way.NCCL, group="g")
            case PullVersion():
                return VersionUnavailable(version=asked.version, holds=(), reason="no group", needs_group=True)
            case FormGroup():
                return opened[0] if opened else None
            case _:
                return None

    async with a_broadcaster(answer) as transport, a_group(transport, opened) as nccl:
        problem, seconds = await told(transport, Way.NCCL, nccl=nccl)

    assert seconds == pytest.approx(TIMEOUT_S, abs=TOLERANCE_S)
    assert f"rollout-0 had not taken version 1 over within generator.weight_sync_timeout={TIMEOUT_S:g} s" in problem
    assert ": staging for " in problem
    assert f", making a process group with the broadcaster at {ENDPOINT}: " in problem
    assert "after the process group with the broadcaster (rank 0 of the group) broke in bucket 1 of 3 after" in problem
    assert "if that is slow and not stuck, raise the timeout" in problem
