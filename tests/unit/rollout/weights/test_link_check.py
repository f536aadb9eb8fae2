"""The link between a replica and the broadcaster, before any model loads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import numpy as np
import pytest

from tetrad_config import WeightTransportChoice
from tetrad_config.generator import WeightSyncBackend
from tetrad_rollout.weights.link_check import Pair, check_connection
from tetrad_rollout.weights.links import transports
from tetrad_rollout.weights.receiver import PREFERRED
from tetrad_runtime.exits import PeerLost
from tetrad_transport import Connection, MemoryTransport
from tetrad_wire.messages.groups import LinkEchoed, TestLink
from tetrad_wire.messages.weights import WeightTransport

pytestmark = pytest.mark.timeout(30)
ENDPOINT = "memory://broadcaster"
PAIR = Pair("rollout-1", ENDPOINT)
SOON_S = 10.0


def echo(test: TestLink) -> msgspec.Struct | None:
    return LinkEchoed(data=test.data)


def changed(test: TestLink) -> msgspec.Struct | None:
    data = test.data.copy()
    data[-1] ^= 1
    return LinkEchoed(data=data)


def silence(test: TestLink) -> msgspec.Struct | None:
    return None


@contextlib.asynccontextmanager
async def a_connection(answer: Callable[[TestLink], msgspec.Struct | None]) -> AsyncIterator[Connection]:
    """To a broadcaster that answers so."""
    transport = MemoryTransport()
    listener = transport.listen(ENDPOINT)

    async def serve() -> None:
        while True:
            delivery = await listener.receive()
            reply = answer(delivery.message.body)
            if reply is not None:
                listener.send_nowait(delivery.peer, reply, reply_to=delivery.message.id)

    serving = asyncio.create_task(serve())
    try:
        yield transport.connect(ENDPOINT, name="rollout-1")
    finally:
        serving.cancel()


async def test_a_link_that_works_is_measured():
    async with a_connection(echo) as connection:
        assert await check_connection(connection, PAIR, timeout_s=SOON_S) > 0


async def test_a_silent_broadcaster_is_named_with_both_ends_and_the_limit():
    async with a_connection(silence) as connection:
        with pytest.raises(PeerLost, match=r"rollout-1 and the broadcaster at memory://broadcaster: .* within 0\.2 s"):
            await check_connection(connection, PAIR, timeout_s=0.2)


async def test_bytes_that_come_back_changed_are_a_fault_of_the_link():
    async with a_connection(changed) as connection:
        with pytest.raises(PeerLost, match="1024 bytes came back changed"):
            await check_connection(connection, PAIR, timeout_s=SOON_S)


def test_a_test_of_too_many_bytes_is_refused():
    with pytest.raises(ValueError, match="at most 4194304 are echoed"):
        TestLink(data=np.zeros(5 << 20, np.uint8))


@pytest.mark.parametrize(
    ("choice", "backend", "expected"),
    [
        (WeightTransportChoice.AUTO, WeightSyncBackend.NCCL, PREFERRED),
        (
            WeightTransportChoice.AUTO,
            WeightSyncBackend.GLOO,
            (WeightTransport.CUDA_IPC, WeightTransport.SHARED_MEMORY, WeightTransport.SOCKET),
        ),
        (WeightTransportChoice.NCCL, WeightSyncBackend.GLOO, (WeightTransport.NCCL,)),
    ],
)
def test_the_run_file_takes_collectives_away_and_the_variable_leaves_no_choice(choice, backend, expected):
    assert transports(choice, backend) == expected
