"""What a channel does when things go wrong: peers that are gone, full, late, old, foreign or malicious."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from tetrad_testing.builders import a_grade, a_step, a_turn
from tetrad_testing.conformance.channel_delivery import grade, introduce, serving, turn_of
from tetrad_testing.conformance.channel_site import Site, eventually, soon
from tetrad_transport import ClosedError, DeadlineError, Listener, PeerFullError, PeerGoneError, PeerId, TransportError
from tetrad_wire import PROTOCOL_VERSION, Limits, LocalProtocolError, Message, encode
from tetrad_wire.codec import pack, unpack

# Far more than the kernel buffers of a connection hold, in messages of 64 KB.
FLOOD: Final = 2000
SMALL: Final = {"high_water_mark": 8, "inbox_capacity": 4}

Frames = list[bytes]


def frames_of(turn: int = 0, **header: object) -> Frames:
    """Frames of a legal message, or of one with fields of its header replaced."""
    (first,) = encode(Message(body=a_turn(turn=turn)))
    return [pack(unpack(first) | header)]


MALFORMED: Final[dict[str, tuple[Frames, str]]] = {
    "random_bytes": ([b"\xc1\xff\x00 nothing"], "syntax"),
    "an_empty_frame": ([b""], "syntax"),
    "a_cut_header": ([frames_of()[0][:-3]], "syntax"),
    "deep_nesting": ([b"\x91" * 100_000 + b"\x01"], "syntax"),
    "no_map": ([pack([1, 2])], "schema"),
    "a_missing_field": (frames_of(body={}), "schema"),
    "another_version": (frames_of(v=PROTOCOL_VERSION + 1), "version"),
    "an_unknown_kind": (frames_of(kind="nonsense"), "kind"),
    "a_buffer_of_another_length": ([*frames_of(buffers=[{"dtype": "int32", "shape": [2]}]), b"abc"], "buffers"),
    "a_thousand_frames": ([*frames_of(), *[b""] * 1000], "buffers"),
    "a_large_header": ([b"\xc1" * ((4 << 20) + 1)], "oversize"),
}


async def flood(listener: Listener, peer: PeerId) -> int:
    """Send until the peer is full; return how many messages were taken."""
    for number in range(FLOOD):
        try:
            listener.send_nowait(peer, a_grade(turn=number, extracted="x" * (64 << 10)))
        except PeerFullError:
            return number
        await asyncio.sleep(0)
    raise AssertionError(f"{FLOOD} messages went to a peer that does not read")


class ChannelTrouble:
    """The tests of trouble; `site` is a fixture."""

    async def test_an_unknown_peer_is_gone_at_once(self, site: Site) -> None:
        listener = site.open().listen(site.endpoint())

        with pytest.raises(PeerGoneError, match="nobody"):
            listener.send_nowait(PeerId(b"nobody"), a_grade())

        assert listener.statistics().send_failures == {"gone": 1}

    async def test_a_peer_that_left_is_gone(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)

        connection.close()

        def is_gone() -> bool:
            try:
                listener.send_nowait(peer, a_grade())
            except PeerGoneError:
                return True
            return False

        await eventually(is_gone)

    async def test_what_was_sent_just_before_closing_arrives(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        await introduce(listener, connection)

        connection.send_nowait(a_turn(turn=9))
        connection.close()

        assert turn_of((await soon(listener.receive())).message.body) == 9

    async def test_a_full_peer_is_an_error_at_once_and_the_others_go_on(self, site: Site) -> None:
        opened, endpoint = site.open(**SMALL), site.endpoint()
        listener = opened.listen(endpoint)
        slow, quick = opened.connect(endpoint), opened.connect(endpoint)
        slow_peer, quick_peer = await introduce(listener, slow), await introduce(listener, quick)

        await flood(listener, slow_peer)
        listener.send_nowait(quick_peer, a_grade(turn=7))

        assert turn_of((await soon(quick.receive())).body) == 7
        assert listener.statistics().send_failures == {"full": 1}

    async def test_a_full_peer_that_is_alone_is_an_error_at_once(self, site: Site) -> None:
        opened, endpoint = site.open(**SMALL), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        num_taken = await flood(listener, await introduce(listener, connection))

        assert num_taken >= SMALL["inbox_capacity"]

    async def test_a_full_peer_that_reads_again_gets_everything_that_was_taken(self, site: Site) -> None:
        opened, endpoint = site.open(**SMALL), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)

        num_taken = await flood(listener, peer)
        turns = [turn_of((await soon(connection.receive())).body) for _ in range(num_taken)]

        assert turns == list(range(num_taken))
        await eventually(lambda: _is_taken(listener, peer))

    async def test_a_reader_that_does_not_read_holds_no_more_than_its_inbox(self, site: Site) -> None:
        opened, endpoint = site.open(**SMALL), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        await introduce(listener, connection)
        num_taken = 0

        for number in range(FLOOD):
            try:
                connection.send_nowait(a_grade(turn=number, extracted="x" * (64 << 10)))
                num_taken += 1
            except PeerFullError:
                break
            await asyncio.sleep(0)

        assert num_taken < FLOOD
        assert listener.statistics().messages_received <= 1 + SMALL["inbox_capacity"]
        turns = [turn_of((await soon(listener.receive())).message.body) for _ in range(num_taken)]
        assert turns == list(range(num_taken))

    async def test_a_reader_that_takes_without_waiting_is_sent_more(self, site: Site) -> None:
        opened, endpoint = site.open(**SMALL), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        turns: list[int] = []

        def take() -> bool:
            while (delivery := listener.receive_nowait()) is not None:
                turns.append(turn_of(delivery.message.body))
            return len(turns) == 8

        for number in range(8):
            connection.send_nowait(a_turn(turn=number))

        await eventually(take)
        assert turns == list(range(8))

    async def test_a_listener_may_come_after_its_peers(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        connection = opened.connect(endpoint)
        request = asyncio.create_task(connection.request(a_turn(turn=3), timeout_s=10))
        await asyncio.sleep(0)

        async with serving(opened.listen(endpoint), grade):
            assert turn_of(await request) == 3

    async def test_a_request_to_nobody_ends_at_its_deadline(self, site: Site) -> None:
        connection = site.open().connect(site.endpoint())

        with pytest.raises(DeadlineError):
            await connection.request(a_turn(), timeout_s=0.05)

    async def test_nobody_to_send_to_fills_the_outbox_and_no_more(self, site: Site) -> None:
        connection = site.open(**SMALL).connect(site.endpoint())

        for _ in range(SMALL["high_water_mark"]):
            connection.send_nowait(a_turn())
        with pytest.raises(PeerFullError):
            connection.send_nowait(a_turn())

        assert connection.statistics().messages_sent == SMALL["high_water_mark"]

    async def test_a_request_waits_for_room_in_a_full_outbox(self, site: Site) -> None:
        opened, endpoint = site.open(**SMALL), site.endpoint()
        connection = opened.connect(endpoint)
        for number in range(SMALL["high_water_mark"]):
            connection.send_nowait(a_turn(turn=number))
        request = asyncio.create_task(connection.request(a_turn(turn=99), timeout_s=10))
        await eventually(lambda: connection.statistics().send_failures["full"] > 0)

        async with serving(opened.listen(endpoint), grade):
            assert turn_of(await request) == 99

    async def test_peers_find_a_listener_that_restarts(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        await introduce(listener, connection)

        listener.close()
        async with serving(await opened.listen_again(endpoint), grade):
            reply = await connection.request(a_turn(turn=3), timeout_s=10, resend_s=0.05)

        assert turn_of(reply) == 3

    async def test_an_endpoint_is_bound_once(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        with pytest.raises(TransportError, match=r"cannot bind .*: .*in use"):
            opened.listen(endpoint)

        async with serving(listener, grade):
            assert turn_of(await connection.request(a_turn(turn=3), timeout_s=10)) == 3

    @pytest.mark.parametrize(("frames", "rule"), MALFORMED.values(), ids=MALFORMED)
    async def test_a_malformed_message_is_counted_and_dropped(self, site: Site, frames: Frames, rule: str) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, raw = opened.listen(endpoint), site.raw(opened, endpoint)

        raw.send(frames)
        raw.send(frames_of(turn=5))

        assert turn_of((await soon(listener.receive())).message.body) == 5
        assert listener.statistics().violations == {rule: 1}
        assert listener.receive_nowait() is None

    async def test_a_frame_above_the_limit_never_arrives(self, site: Site) -> None:
        opened, endpoint = site.open(limits=Limits(max_frame_bytes=1000)), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        raw = site.raw(opened, endpoint)

        raw.send([*frames_of(buffers=[{"dtype": "uint8", "shape": [1001]}]), bytes(1001)])

        async with serving(listener, grade):
            assert turn_of(await connection.request(a_turn(turn=3), timeout_s=10)) == 3
        assert listener.receive_nowait() is None

    async def test_what_is_too_large_is_refused_at_the_sender(self, site: Site) -> None:
        opened, endpoint = site.open(limits=Limits(max_frame_bytes=1000)), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        with pytest.raises(LocalProtocolError, match="frame of 4000 bytes; the limit is 1000"):
            connection.send_nowait(a_step(lengths=[1000]))
        connection.send_nowait(a_turn(turn=3))

        assert turn_of((await soon(listener.receive())).message.body) == 3
        assert connection.statistics().messages_sent == 1

    async def test_a_lower_coordinator_epoch_is_refused(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)

        for epoch in (3, 2, 0, 4):
            listener.stamp.epoch = epoch
            listener.send_nowait(peer, a_grade(turn=epoch))
        turns = [turn_of((await soon(connection.receive())).body) for _ in range(3)]

        assert turns == [3, 0, 4]
        assert connection.statistics().violations == {"stale": 1}
        assert connection.stamp.epoch == 4

    async def test_a_reply_of_a_lower_epoch_answers_nothing(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        connection.stamp.epoch = 5
        listener.stamp.epoch = 4

        async with serving(listener, grade):
            with pytest.raises(DeadlineError):
                await connection.request(a_turn(), timeout_s=0.1)

        assert connection.statistics().violations == {"stale": 1}

    async def test_the_epoch_seen_last_rides_on_what_is_sent(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)
        listener.stamp.epoch = 3
        listener.send_nowait(peer, a_grade())
        await soon(connection.receive())

        connection.send_nowait(a_turn())

        assert (await soon(listener.receive())).message.epoch == 3

    async def test_messages_of_another_run_are_refused_by_both_ends(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)
        listener.stamp.run = "run-1"

        connection.stamp.run = "run-2"
        connection.send_nowait(a_turn(turn=1))
        listener.send_nowait(peer, a_grade(turn=1))
        await eventually(lambda: listener.statistics().violations == {"run": 1})
        await eventually(lambda: connection.statistics().violations == {"run": 1})

        connection.stamp.run = ""
        connection.send_nowait(a_turn(turn=2))
        assert turn_of((await soon(listener.receive())).message.body) == 2

    async def test_closing_wakes_the_readers(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        readers = [asyncio.create_task(listener.receive()), asyncio.create_task(connection.receive())]
        await asyncio.sleep(0)

        listener.close()
        connection.close()

        for reader in readers:
            with pytest.raises(ClosedError):
                await soon(reader)

    async def test_closing_ends_requests_that_wait(self, site: Site) -> None:
        connection = site.open().connect(site.endpoint())
        request = asyncio.create_task(connection.request(a_turn(), timeout_s=60))
        await asyncio.sleep(0)

        connection.close()

        with pytest.raises(ClosedError):
            await soon(request)

    async def test_what_had_arrived_can_be_read_after_closing(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        connection.send_nowait(a_turn(turn=3))
        await eventually(lambda: listener.statistics().messages_received == 1)

        listener.close()

        assert turn_of((await soon(listener.receive())).message.body) == 3
        with pytest.raises(ClosedError):
            await soon(listener.receive())

    async def test_nothing_can_be_sent_after_closing(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)
        sends: list[Callable[[], None]] = [
            lambda: listener.send_nowait(peer, a_grade()),
            lambda: connection.send_nowait(a_turn()),
        ]

        for end in (listener, connection):
            end.close()
            end.close()

        for send in sends:
            with pytest.raises(ClosedError):
                send()

    async def test_both_ends_count_messages_and_bytes(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        for number in range(3):
            connection.send_nowait(a_turn(turn=number))
            await soon(listener.receive())

        sent, got = connection.statistics(), listener.statistics()
        assert (sent.messages_sent, got.messages_received) == (3, 3)
        assert sent.bytes_sent == got.bytes_received > 3 * len("episode")
        assert sent.violations == got.violations == sent.send_failures == {}


def _is_taken(listener: Listener, peer: PeerId) -> bool:
    try:
        listener.send_nowait(peer, a_grade())
    except PeerFullError:
        return False
    return True
