"""What an admitted peer says twice, and what somebody has overheard and says again, at running services."""

import asyncio
from urllib.parse import urlsplit

import pytest

from security.lessee import Lessee
from security.site import LISTENERS, PATIENCE_S, a_peer, dialled, told, until_closed, until_heard
from tetrad_testing.builders import a_turn, an_opening
from tetrad_transport.keys import KeyRole
from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import Disposition

pytestmark = [pytest.mark.timeout(240)]

# Greeting and HELLO of CURVE (RFC 26).
HELLO_END = 64 + 2 + 200


@pytest.mark.parametrize("listener", LISTENERS)
async def test_what_was_overheard_cannot_be_said_again(site, listener, monkeypatch):
    direct = urlsplit(site.endpoints[listener])
    said, answered = bytearray(), bytearray()

    async def overhear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_connection(direct.hostname, direct.port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray) -> None:
            while data := await source.read(4096):
                kept.extend(data)
                target.write(data)
            target.close()

        await asyncio.gather(pump(reader, onward, said), pump(onward_reader, writer, answered))

    server = await asyncio.start_server(overhear, "127.0.0.1", 0)
    with monkeypatch.context() as detour:
        detour.setitem(site.endpoints, listener, f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-0"), listener) as peer:
            assert await peer.is_served()
    server.close()
    before, received = site.refusals(listener, "bad_handshake"), site.received(listener)

    with dialled(site.endpoints[listener]) as again:
        again.sendall(said[:HELLO_END])
        heard = await asyncio.to_thread(until_heard, again, b"WELCOME")
        again.sendall(said[HELLO_END:])
        heard += await asyncio.to_thread(until_closed, again)

    await told(site, listener, "bad_handshake", more_than=before)
    # The handshake of CURVE names its commands in the clear: this one was begun, and never came to its end.
    assert all(word in answered for word in (b"WELCOME", b"READY", b"MESSAGE"))
    assert [word for word in (b"WELCOME", b"READY", b"MESSAGE") if word in heard] == [b"WELCOME"]
    assert not any(name in said for name in (b"nobody's", b"rollout-0"))
    if listener != "coordinator":  # others talk to that one all the time
        assert site.received(listener) == received


async def test_a_sample_that_is_sent_twice_is_acknowledged_twice_and_counted_once(site):
    def counted(outcome: str) -> float:
        return site.metric("coordinator", f'tetrad_learner_samples_total{{outcome="{outcome}"}}')

    accepted, duplicates = counted("accepted"), counted("duplicate")
    with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-0"), "coordinator") as peer:
        lessee = Lessee(peer.connection)
        registered = asyncio.create_task(lessee.member.run())
        async with asyncio.timeout(3 * PATIENCE_S):  # the first weights are published meanwhile
            sample = lessee.sample(await lessee.leases.get())
            acks = []
            for _ in range(2):
                peer.connection.send_nowait(sample)
                acks.append(await lessee.acks.get())
        lessee.member.leave("the test is over")
        registered.cancel()
        await asyncio.wait({registered})

    assert [ack.disposition for ack in acks] == [Disposition.ACCEPTED, Disposition.DUPLICATE]
    assert (counted("accepted"), counted("duplicate")) == (accepted + 1, duplicates + 1)


async def test_a_turn_that_is_sent_twice_is_answered_twice_and_graded_once(site):
    # It learns the name of its run from the coordinator, and loads its graders before that.
    await asyncio.to_thread(site.until, lambda: '"ok": true' in site.page("reward", "readyz"), "reward is registered")
    graded = 'tetrad_reward_samples_total{outcome="scored",reward_fn="arithmetic"}'
    before = site.metric("reward", graded)
    with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-0"), "reward") as peer:
        opening = an_opening(episodes=("said twice",), seeds=(1,), grader_version="")
        await peer.connection.request(opening, timeout_s=PATIENCE_S)
        turn = a_turn(episode="said twice")
        first, second = [await peer.connection.request(turn, timeout_s=PATIENCE_S) for _ in range(2)]

    assert (first.outcome, first.reward) == (GradeOutcome.OK, 1.0)
    assert second == first
    assert site.metric("reward", graded) == before + 1
