"""What only sockets have; the rest is in the conformance suite."""

import asyncio
import contextlib
import random
import selectors
import socket as stream
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from tetrad_testing.builders import a_grade, a_step, a_turn
from tetrad_testing.conformance.channel_site import eventually, soon
from tetrad_testing.fuzz import throw_garbage, throw_noise, throw_oversized
from tetrad_transport import Connection, Listener, PeerFullError, TransportError, ZmqTransport
from tetrad_transport.sockets import ZERO_COPY_BYTES

LARGE = ZERO_COPY_BYTES // 4


@pytest.fixture
def endpoint() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tetrad-", dir="/tmp") as folder:
        yield f"ipc://{folder}/s"


@pytest.fixture
async def transport() -> Iterator[ZmqTransport]:
    transport = ZmqTransport(allow_clear_tcp=True)
    yield transport
    transport.close()


def num_references(array: np.ndarray) -> int:
    return sys.getrefcount(array)


async def test_a_large_read_only_array_is_lent_until_it_is_sent(transport, endpoint):
    step = a_step(lengths=[LARGE])
    step.token_ids.flags.writeable = False
    before = num_references(step.token_ids)
    connection = transport.connect(endpoint, name="peer")

    connection.send_nowait(step)
    after = num_references(step.token_ids)
    assert after > before

    listener = transport.listen(endpoint)
    await soon(listener.receive())
    await eventually(lambda: num_references(step.token_ids) == before)
    listener.close()
    connection.close()


@pytest.mark.parametrize(("num_tokens", "is_writable"), [(LARGE, True), (LARGE - 1, False)], ids=["writable", "small"])
async def test_a_small_or_writable_array_is_copied(transport, endpoint, num_tokens, is_writable):
    step = a_step(lengths=[num_tokens])
    step.token_ids.flags.writeable = is_writable
    before = num_references(step.token_ids)
    connection = transport.connect(endpoint, name="peer")

    connection.send_nowait(step)
    after = num_references(step.token_ids)  # outside of the assertion, whose rewriting holds a reference of its own

    assert after == before
    connection.close()


async def test_a_large_array_is_read_from_the_frame_it_came_in(transport, endpoint):
    listener, connection = transport.listen(endpoint), transport.connect(endpoint, name="peer")

    connection.send_nowait(a_step(lengths=[LARGE]))
    tokens = (await soon(listener.receive())).message.body.token_ids

    owner = tokens
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, memoryview)
    assert isinstance(owner.obj, zmq.Frame)
    listener.close()
    connection.close()


def test_a_reader_that_does_not_read_lets_its_loop_sleep(endpoint):
    """A full inbox must not leave a readable descriptor behind, or the loop would spin until it is read."""
    selector = CountingSelector()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(_fill_an_inbox_and_wait(endpoint))

    assert selector.num_selects_while_waiting < 100


class CountingSelector(selectors.DefaultSelector):
    """Counts how often the loop looks for something to do."""

    num_selects = 0
    num_selects_while_waiting = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.num_selects += 1
        return super().select(timeout)


async def _fill_an_inbox_and_wait(endpoint: str) -> None:
    transport = ZmqTransport(inbox_capacity=2)
    listener = transport.listen(endpoint)
    connections = [transport.connect(endpoint, name="peer")]
    for _ in range(3):
        connections[0].send_nowait(a_turn())
    await eventually(lambda: listener.statistics().messages_received == 2)
    # A newcomer wakes the listener's descriptor, full inbox or not.
    connections.append(transport.connect(endpoint, name="newcomer"))
    connections[1].send_nowait(a_turn())

    selector = asyncio.get_running_loop()._selector
    before = selector.num_selects
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.Event().wait()
    selector.num_selects_while_waiting = selector.num_selects - before

    for _ in range(4):
        await soon(listener.receive())
    for end in (listener, *connections):
        end.close()
    transport.close()


async def test_an_ipc_path_is_not_taken_from_a_living_listener(endpoint):
    one, other = ZmqTransport(), ZmqTransport()
    listener = one.listen(endpoint)

    with pytest.raises(TransportError, match="address already in use"):
        other.listen(endpoint)

    listener.close()
    one.close()
    other.close()


async def test_an_ipc_path_that_a_dead_listener_left_is_taken(transport, endpoint):
    with stream.socket(stream.AF_UNIX) as dead:
        dead.bind(endpoint.removeprefix("ipc://"))

    listener, connection = transport.listen(endpoint), transport.connect(endpoint, name="peer")
    connection.send_nowait(a_turn(turn=3))

    assert (await soon(listener.receive())).message.body == a_turn(turn=3)
    listener.close()
    connection.close()


async def test_a_port_may_be_left_to_the_kernel(transport):
    listener = transport.listen("tcp://127.0.0.1:0")

    assert int(listener.endpoint.rpartition(":")[2]) > 0
    listener.close()


@pytest.mark.parametrize("end", ["listen", "connect"])
async def test_clear_tcp_is_refused_unless_allowed(end):
    transport = ZmqTransport()
    with pytest.raises(ValueError, match="is clear TCP"):
        _open(transport, end, "tcp://127.0.0.1:5555")
    transport.close()


@pytest.mark.parametrize("end", ["listen", "connect"])
async def test_what_zmq_cannot_use_is_a_transport_error(transport, end):
    with pytest.raises(TransportError, match="memory://x: Protocol not supported"):
        _open(transport, end, "memory://x")


def _open(transport: ZmqTransport, end: str, endpoint: str) -> Listener | Connection:
    return transport.listen(endpoint) if end == "listen" else transport.connect(endpoint, name="peer")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
async def test_garbage_is_counted_and_dropped_while_others_are_served(transport, endpoint, scheme):
    listener = transport.listen(endpoint if scheme == "ipc" else "tcp://127.0.0.1:0")
    connection = transport.connect(listener.endpoint, name="peer")
    serving = asyncio.create_task(_grade_turns(listener))

    throwing = asyncio.create_task(asyncio.to_thread(throw_garbage, listener.endpoint, 600, 7))
    turn = 0
    while not throwing.done():
        turn += 1
        assert (await connection.request(a_turn(turn=turn), timeout_s=10)).turn == turn
    thrown = await throwing
    num_messages = thrown.total() - thrown["noise"] - thrown["oversized_frame"]
    await eventually(lambda: listener.statistics().violations.total() == num_messages)

    assert (await connection.request(a_turn(turn=0), timeout_s=10)).turn == 0
    assert {"syntax", "schema", "version", "kind", "buffers"} <= set(listener.statistics().violations)
    assert not serving.done()
    serving.cancel()
    listener.close()
    connection.close()


async def _grade_turns(listener: Listener) -> None:
    while True:
        delivery = await listener.receive()
        listener.send_nowait(delivery.peer, a_grade(turn=delivery.message.body.turn), reply_to=delivery.message.id)


async def test_the_same_seed_throws_the_same(transport, endpoint):
    listener = transport.listen(endpoint)

    first = await asyncio.to_thread(throw_garbage, endpoint, 60, 3)
    second = await asyncio.to_thread(throw_garbage, endpoint, 60, 3)

    assert first == second
    listener.close()


async def test_a_service_without_a_size_limit_would_be_noticed(endpoint):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as unlimited:
        unlimited.bind(endpoint)
        with pytest.raises(TimeoutError, match="has not cut a peer that sent a frame of 1000 bytes"):
            await asyncio.to_thread(throw_oversized, endpoint, 1000, 100)


async def test_noise_goes_to_bound_endpoints_only(endpoint):
    with pytest.raises(FileNotFoundError):
        throw_noise(endpoint, random.Random(0))


async def test_a_message_that_arrives_while_sends_fail_is_not_left_lying(endpoint):
    """A failed send takes the wake-up of the descriptor as well as one that succeeds."""
    transport = ZmqTransport(high_water_mark=2, inbox_capacity=1)
    listener, connection = transport.listen(endpoint), transport.connect(endpoint, name="peer")
    connection.send_nowait(a_turn())
    peer = (await soon(listener.receive())).peer
    failures = 0
    while failures < 20:  # not one, since libzmq's own thread still moves messages into the kernel's buffers
        try:
            connection.send_nowait(a_grade(extracted="x" * 60_000))
            failures = 0
        except PeerFullError:
            failures += 1
        await asyncio.sleep(0.001)

    listener.send_nowait(peer, a_grade(turn=7))
    until = time.monotonic() + 0.2
    while time.monotonic() < until:  # without a turn of the loop, so that only the sends see the arrival
        with contextlib.suppress(PeerFullError):
            connection.send_nowait(a_turn())

    async with asyncio.timeout(0.5):  # below the heartbeats of ZeroMQ, which would wake it in the end
        assert (await connection.receive()).body == a_grade(turn=7)
    listener.close()
    connection.close()
    transport.close()
