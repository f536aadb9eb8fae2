"""What only the twin in memory has; the rest is in the conformance suite."""

import pytest

from tetrad_testing.builders import a_step, a_turn
from tetrad_transport import MemoryTransport, PeerGoneError
from tetrad_wire import Message, encode


async def test_frames_of_any_kind_can_be_sent_below_the_messages():
    transport = MemoryTransport()
    listener = transport.listen("memory://x")
    raw = transport.dial("memory://x", name="raw", deliver=lambda _peer, _frames: True)

    raw.send(b"", [b"\xc1"])
    raw.send(b"", encode(Message(body=a_turn(turn=4))))

    assert (await listener.receive()).message.body == a_turn(turn=4)
    assert listener.statistics().violations == {"syntax": 1}


async def test_two_transports_share_nothing():
    one, other = MemoryTransport(), MemoryTransport()
    listener = one.listen("memory://x")
    other.connect("memory://x", name="peer").send_nowait(a_turn())

    assert listener.receive_nowait() is None
    assert other.listen("memory://x").endpoint == listener.endpoint


async def test_what_waits_for_a_listener_comes_in_order_and_copied():
    transport = MemoryTransport()
    connection = transport.connect("memory://x", name="peer")
    step = a_step(lengths=[3])

    connection.send_nowait(step)
    step.token_ids[:] = -1
    connection.send_nowait(a_turn(turn=2))
    listener = transport.listen("memory://x")

    assert (await listener.receive()).message.body.token_ids.tolist() == [0, 1, 2]
    assert (await listener.receive()).message.body == a_turn(turn=2)


async def test_a_closed_connection_is_gone_for_its_listener():
    transport = MemoryTransport()
    listener, connection = transport.listen("memory://x"), transport.connect("memory://x", name="peer")
    connection.send_nowait(a_turn())
    peer = (await listener.receive()).peer

    connection.close()

    with pytest.raises(PeerGoneError):
        listener.send_nowait(peer, a_turn())
