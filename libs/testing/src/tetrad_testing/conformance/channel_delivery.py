"""What a channel delivers: in order, once, replies to their requests, arrays as they were."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import numpy as np
import pytest

from tetrad_testing.builders import a_bye, a_grade, a_sample, a_step, a_turn
from tetrad_testing.conformance.channel_site import Site, eventually, soon
from tetrad_transport import Connection, DeadlineError, Delivery, Listener, PeerId
from tetrad_wire.messages.episodes import EpisodeStepped, StepEpisode
from tetrad_wire.messages.leases import SampleFinished
from tetrad_wire.messages.steps import ExecuteStep

NUM_MESSAGES: Final = 500

Answer = Callable[[Listener, Delivery], None]


async def introduce(listener: Listener, connection: Connection) -> PeerId:
    """Let the listener meet the peer; return what it calls it."""
    connection.send_nowait(a_bye(reason="hello"))
    return (await soon(listener.receive())).peer


@contextlib.asynccontextmanager
async def serving(listener: Listener, answer: Answer) -> AsyncIterator[None]:
    """Answer each message in the background."""

    async def serve() -> None:
        while True:
            answer(listener, await listener.receive())

    task = asyncio.create_task(serve())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def grade(listener: Listener, delivery: Delivery) -> None:
    """Answer a turn by a grade of the same number."""
    turn = turn_of(delivery.message.body)
    listener.send_nowait(delivery.peer, a_grade(turn=turn), reply_to=delivery.message.id)


def turn_of(body: msgspec.Struct) -> int:
    """The number by which these tests tell messages apart."""
    assert isinstance(body, StepEpisode | EpisodeStepped)
    return body.turn


class ChannelDelivery:
    """The tests of delivery; `site` is a fixture."""

    async def test_messages_arrive_once_and_in_order(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        for number in range(NUM_MESSAGES):
            connection.send_nowait(a_turn(turn=number))
        arrived = [turn_of((await soon(listener.receive())).message.body) for _ in range(NUM_MESSAGES)]

        assert arrived == list(range(NUM_MESSAGES))
        assert listener.receive_nowait() is None
        assert listener.statistics().messages_received == NUM_MESSAGES

    async def test_messages_to_a_peer_arrive_once_and_in_order(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)

        for number in range(NUM_MESSAGES):
            listener.send_nowait(peer, a_grade(turn=number))
        arrived = [turn_of((await soon(connection.receive())).body) for _ in range(NUM_MESSAGES)]

        assert arrived == list(range(NUM_MESSAGES))
        assert connection.statistics().messages_received == NUM_MESSAGES

    async def test_messages_of_several_peers_keep_their_senders(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener = opened.listen(endpoint)
        connections = [opened.connect(endpoint, name=f"peer-{number}") for number in range(4)]
        peers = [await introduce(listener, connection) for connection in connections]

        for number in range(40):
            connections[number % 4].send_nowait(a_turn(turn=number))
        deliveries = [await soon(listener.receive()) for _ in range(40)]

        for position, peer in enumerate(peers):
            turns = [turn_of(delivery.message.body) for delivery in deliveries if delivery.peer == peer]
            assert turns == list(range(position, 40, 4))

    async def test_two_peers_of_one_name_are_two_peers(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener = opened.listen(endpoint)
        one, other = opened.connect(endpoint, name="rollout-0"), opened.connect(endpoint, name="rollout-0")

        peers = [await introduce(listener, one), await introduce(listener, other)]
        for number, peer in enumerate(peers):
            listener.send_nowait(peer, a_grade(turn=number))

        assert peers[0] != peers[1]
        assert turn_of((await soon(one.receive())).body) == 0
        assert turn_of((await soon(other.receive())).body) == 1

    async def test_a_request_gets_its_reply(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        async with serving(listener, grade):
            reply = await connection.request(a_turn(turn=3), timeout_s=10)

        assert isinstance(reply, EpisodeStepped)
        assert reply.turn == 3

    async def test_many_requests_at_once_get_their_own_replies_in_any_order(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        requests = [asyncio.create_task(connection.request(a_turn(turn=n), timeout_s=10)) for n in range(200)]
        deliveries = [await soon(listener.receive()) for _ in requests]
        for delivery in reversed(deliveries):
            grade(listener, delivery)
        replies = await soon(asyncio.gather(*requests))

        assert [turn_of(reply) for reply in replies] == list(range(200))
        assert connection.statistics().orphans == 0

    async def test_messages_that_are_no_replies_do_not_disturb_requests(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)

        request = asyncio.create_task(connection.request(a_turn(turn=3), timeout_s=10))
        delivery = await soon(listener.receive())
        listener.send_nowait(delivery.peer, a_grade(turn=99))
        grade(listener, delivery)

        assert turn_of(await request) == 3
        assert turn_of((await soon(connection.receive())).body) == 99

    async def test_silence_ends_a_request_at_its_deadline(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        opened.listen(endpoint)
        connection = opened.connect(endpoint)

        with pytest.raises(DeadlineError, match=r"no reply to StepEpisode within 0\.05 s"):
            await connection.request(a_turn(), timeout_s=0.05)

    async def test_a_request_is_sent_again_when_told_to(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        request = asyncio.create_task(connection.request(a_turn(turn=3), timeout_s=10, resend_s=0.02))

        first = await soon(listener.receive())
        second = await soon(listener.receive())
        grade(listener, second)

        assert turn_of(await request) == 3
        assert first.message.body == second.message.body
        assert first.message.id != second.message.id

    async def test_an_answer_to_the_first_of_two_sendings_is_good(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        request = asyncio.create_task(connection.request(a_turn(turn=3), timeout_s=10, resend_s=0.02))

        first, second = await soon(listener.receive()), await soon(listener.receive())
        grade(listener, first)
        assert turn_of(await request) == 3
        grade(listener, second)

        await eventually(lambda: connection.statistics().orphans == 1)

    async def test_a_reply_after_the_deadline_is_counted_and_dropped(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        with pytest.raises(DeadlineError):
            await connection.request(a_turn(), timeout_s=0.02)

        grade(listener, await soon(listener.receive()))
        await eventually(lambda: connection.statistics().orphans == 1)

        async with serving(listener, grade):
            assert turn_of(await connection.request(a_turn(turn=5), timeout_s=10)) == 5

    async def test_a_cancelled_request_leaves_nothing_behind(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        request = asyncio.create_task(connection.request(a_turn(), timeout_s=10))
        delivery = await soon(listener.receive())

        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        grade(listener, delivery)

        await eventually(lambda: connection.statistics().orphans == 1)

    async def test_a_cancelled_receive_loses_nothing(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        turns: list[int] = []
        num_cancelled = 0

        async def send() -> None:
            for number in range(NUM_MESSAGES):
                connection.send_nowait(a_turn(turn=number))
                await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        async with asyncio.timeout(20):
            for num_turns_of_loop in itertools.cycle((0, 1, 2, 3)):
                if len(turns) == NUM_MESSAGES:
                    break
                reading = asyncio.create_task(listener.receive())
                for _ in range(num_turns_of_loop):
                    await asyncio.sleep(0)
                reading.cancel()
                try:
                    turns.append(turn_of((await reading).message.body))
                except asyncio.CancelledError:
                    num_cancelled += 1
        await sending

        assert turns == list(range(NUM_MESSAGES))
        assert num_cancelled > 0

    async def test_arrays_arrive_bit_identical_and_read_only(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        bits = np.random.default_rng(0).integers(-(2**31), 2**31, 4096, dtype=np.int32)
        logprobs = np.linspace(-20, 0, 4096, dtype=np.float32) * (np.arange(4096) >= 96)

        sample = a_sample(prompt_length=96, num_sampled=4000, token_ids=bits, rollout_logprobs=logprobs)
        connection.send_nowait(sample)
        body = (await soon(listener.receive())).message.body

        assert isinstance(body, SampleFinished)
        assert body.token_ids.tobytes() == bits.tobytes()
        assert body.rollout_logprobs.tobytes() == logprobs.tobytes()
        assert not body.token_ids.flags.writeable

    async def test_large_arrays_arrive_bit_identical_and_read_only(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        listener, connection = opened.listen(endpoint), opened.connect(endpoint)
        peer = await introduce(listener, connection)
        step = a_step(lengths=[1_000_000] * 4)

        listener.send_nowait(peer, step)
        body = (await soon(connection.receive())).body

        assert isinstance(body, ExecuteStep)
        for name in ("token_ids", "loss_mask", "rollout_logprobs"):
            assert np.array_equal(getattr(body, name), getattr(step, name))
            with pytest.raises(ValueError, match="cannot set WRITEABLE"):
                getattr(body, name).flags.writeable = True

    async def test_changing_an_array_after_it_was_sent_changes_nothing(self, site: Site) -> None:
        opened, endpoint = site.open(), site.endpoint()
        connection = opened.connect(endpoint)
        step = a_step(lengths=[1_000_000])

        connection.send_nowait(step)
        step.token_ids[:] = -1
        listener = opened.listen(endpoint)
        body = (await soon(listener.receive())).message.body

        assert isinstance(body, ExecuteStep)
        assert np.array_equal(body.token_ids, np.arange(1_000_000))
