"""Strangers, thieves and liars at the sockets of running services: each is refused by name, a good peer is served."""

import asyncio
import contextlib
import random
import socket

import pytest
import zmq

from security.site import LISTENERS, PATIENCE_S, Site, a_peer, dialled, free_port, question_for, told, until_closed
from tetrad_testing.builders import a_hello, a_publication, a_pull, a_return, a_sample, a_turn
from tetrad_testing.fuzz import throw_noise
from tetrad_transport import DeadlineError, RefusedError, ZmqTransport
from tetrad_transport.doorway import MAX_STRANGERS
from tetrad_transport.keys import Keyring, KeyRole
from tetrad_transport.keys.curve import secure_client
from tetrad_transport.keys.folder import KeyFolder
from tetrad_transport.membership import new_incarnation
from tetrad_wire import Message, encode
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.episodes import StepEpisode
from tetrad_wire.messages.membership import Desired, Role
from tetrad_wire.messages.refusals import RefusalCode

pytestmark = [pytest.mark.timeout(240)]

everywhere = pytest.mark.parametrize("listener", LISTENERS)


@contextlib.asynccontextmanager
async def a_good_peer(site: Site, listener: str):
    """Is served before, and after whatever the test does."""
    with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-0"), listener) as peer:
        assert await peer.is_served()
        yield peer
        assert await peer.is_served()


@everywhere
async def test_an_unknown_key_is_refused(site, listener, tmp_path):
    stranger = KeyFolder(tmp_path / "keys")
    stranger.init()
    keyring = Keyring(stranger.path, role=KeyRole.ROLLOUT, name="rollout-0")

    async with a_good_peer(site, listener):
        with a_peer(site, keyring, listener) as peer:
            await told(site, listener, "unknown_key")
            with pytest.raises((DeadlineError, TimeoutError)):
                await peer.is_served(timeout_s=0.2)

    assert {refusal.reason for refusal in peer.noted} == {"not_admitted"}


@everywhere
async def test_a_peer_without_keys_is_refused(site, listener):
    before, received = site.refusals(listener, "bad_handshake"), site.received(listener)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(site.endpoints[listener])
        dealer.send_multipart([bytes(frame) for frame in encode(Message(body=a_turn()))])
        await told(site, listener, "bad_handshake", more_than=before)

        assert not dealer.poll(0)

    async with a_good_peer(site, listener):
        assert site.received(listener) >= received


@pytest.mark.parametrize(
    ("listener", "role", "name", "body", "why"),
    [
        ("broadcaster", KeyRole.REWARD, "reward-0", a_publication(), "key of a reward may not send PublishVersion"),
        ("broadcaster", KeyRole.TRAINER, "trainer-0", a_pull(), "key of a trainer may not send PullVersion"),
        ("reward", KeyRole.BROADCASTER, "broadcaster", a_turn(), "key of a broadcaster may not send StepEpisode"),
        (
            "coordinator",
            KeyRole.REWARD,
            "reward-0",
            a_hello(),
            "the peer says that it is a rollout",
        ),
        ("coordinator", KeyRole.COORDINATOR, "learner", a_hello(), "key of a coordinator may not send Hello"),
    ],
    ids=["publish", "pull", "grade", "hello", "second_coordinator"],
)
async def test_a_key_does_only_what_its_role_may(site, listener, role, name, body, why):
    before = site.refusals(listener, "wrong_role")
    async with a_good_peer(site, listener):
        with a_peer(site, site.keyring(role, name), listener) as peer, pytest.raises(RefusedError, match=why):
            await peer.connection.request(body, timeout_s=PATIENCE_S)

    await told(site, listener, "wrong_role", more_than=before)


async def test_a_key_for_one_replica_is_no_key_for_another(site):
    with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-7"), "coordinator") as peer:
        refusals = []
        peer.connection.on_refused = refusals.append
        with pytest.raises(RefusedError, match="rollout-7 is for rollout-7, the peer says that it is rollout-8"):
            await peer.connection.request(a_hello(name="rollout-8"), timeout_s=PATIENCE_S)

    assert [refused.code for refused in refusals] == [RefusalCode.WRONG_NAME]
    await told(site, "coordinator", "wrong_name")


async def test_nobody_gets_the_mail_of_another_by_taking_its_name(site):
    async with a_good_peer(site, "reward") as peer:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.setsockopt_string(zmq.IDENTITY, "rollout-0")
            secure_client(dealer, site.keyring(KeyRole.ROLLOUT, "rollout-1").own, site.server_key("reward"))
            dealer.connect(site.endpoints["reward"])
            dealer.send_multipart([bytes(frame) for frame in encode(Message(body=question_for("reward"), id=1))])
            assert await asyncio.to_thread(dealer.poll, PATIENCE_S * 1000)
            dealer.recv_multipart()

            assert await peer.is_served()
            assert not dealer.poll(0)


async def test_a_server_with_another_key_than_the_known_one_hears_nothing(site, monkeypatch):
    noted = []
    transport = ZmqTransport(keyring=site.keyring(KeyRole.REWARD, "reward-0"), on_refusal=noted.append)
    impostor = transport.listen(f"tcp://127.0.0.1:{free_port()}")
    with monkeypatch.context() as detour:
        for listener in ("coordinator", "reward"):
            detour.setitem(site.endpoints, listener, impostor.endpoint)
        keyring = site.keyring(KeyRole.ROLLOUT, "rollout-0")
        with a_peer(site, keyring, "coordinator") as deceived:
            async with asyncio.timeout(PATIENCE_S):
                while not noted:
                    with contextlib.suppress(TimeoutError):
                        await deceived.is_served(timeout_s=0.2)
        heard = impostor.statistics().messages_received
        # The same process under the key that is its own is found.
        with a_peer(site, keyring, "reward") as peer:
            peer.connection.send_nowait(question_for("reward"))
            delivery = await asyncio.wait_for(impostor.receive(), PATIENCE_S)
    impostor.close()
    transport.close()

    assert heard == 0
    assert {refusal.reason for refusal in noted} == {"bad_handshake"}
    assert isinstance(delivery.message.body, StepEpisode)


async def test_nobody_speaks_for_the_process_of_another_key(site):
    mine = Incarnation(new_incarnation())
    hello = a_hello(name="trainer-9", role=Role.TRAINER, rollout=None, incarnation=mine)
    with a_peer(site, site.keyring(KeyRole.TRAINER, "trainer-9"), "coordinator") as owner:
        owner.connection.send_nowait(hello)
        answer = await asyncio.wait_for(owner.connection.receive(), PATIENCE_S)
        with (
            a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-0"), "coordinator") as liar,
            pytest.raises(RefusedError, match="belongs to another key"),
        ):
            await liar.connection.request(a_hello(incarnation=mine), timeout_s=PATIENCE_S)

    assert isinstance(answer.body, Desired)
    await told(site, "coordinator", "wrong_session")


@pytest.mark.parametrize("nonce", ["", "0123456789abcdef", "ÿ" * 16], ids=["none", "guessed", "not_ascii"])
async def test_a_lease_is_filled_and_given_back_only_by_whom_it_was_given_to(site, nonce):
    forged = 'tetrad_learner_samples_total{outcome="forged"}'
    num_samples, num_returns = site.metric("coordinator", forged), site.log("coordinator").count("lease_return_forged")
    async with a_good_peer(site, "coordinator") as peer:
        peer.connection.send_nowait(a_return(nonce=nonce))
        peer.connection.send_nowait(a_sample(nonce=nonce, incarnation=Incarnation(new_incarnation())))

        await asyncio.to_thread(site.until, lambda: site.metric("coordinator", forged) > num_samples, "it is counted")

    assert site.log("coordinator").count("lease_return_forged") == num_returns + 1


@everywhere
async def test_a_message_of_an_unknown_run_is_dropped(site, listener):
    if listener == "coordinator":
        before = site.refusals(listener, "bad_message")
    else:
        # Both learn the name of their run from the coordinator.
        await asyncio.to_thread(
            site.until, lambda: '"ok": true' in site.page(listener, "readyz"), f"{listener} is registered"
        )
        before = site.refusals(listener, "bad_message")
    async with a_good_peer(site, listener):
        with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-0"), listener) as peer:
            peer.connection.stamp.run = "another-run"
            with pytest.raises((DeadlineError, TimeoutError)):
                await peer.is_served(timeout_s=0.5)

    await told(site, listener, "bad_message", more_than=before)
    assert "message of run another-run" in site.log(listener)


@everywhere
async def test_an_oversize_message_of_an_admitted_peer_is_dropped(site, listener):
    before = site.refusals(listener, "bad_message")
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        keyring = site.keyring(KeyRole.ROLLOUT, "rollout-0")
        secure_client(dealer, keyring.own, site.server_key(listener))
        dealer.connect(site.endpoints[listener])
        dealer.send(bytes(5 << 20))
        await told(site, listener, "bad_message", more_than=before)

    assert "oversize: " in site.log(listener)
    async with a_good_peer(site, listener):
        pass


@everywhere
async def test_garbage_before_the_handshake_harms_nobody(site, listener):
    rng = random.Random(7)
    received = site.received(listener)

    async with a_good_peer(site, listener):
        for _ in range(40):
            await asyncio.to_thread(throw_noise, site.endpoints[listener], rng)

    assert site.received(listener) >= received


@everywhere
async def test_those_who_only_stand_at_the_door_are_few(site, listener):
    async with a_good_peer(site, listener) as peer:
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_STRANGERS + 40):
                stack.enter_context(dialled(site.endpoints[listener]))
            assert await peer.is_served()
            with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-1"), listener) as newcomer:
                assert await newcomer.is_served()
            await told(site, listener, "crowded_out", more_than=30)


async def test_nobody_stands_at_a_door_for_long(site):
    async with contextlib.AsyncExitStack() as stack:
        for listener in LISTENERS:
            await stack.enter_async_context(a_good_peer(site, listener))
        before = {listener: site.refusals(listener, "slow_handshake") for listener in LISTENERS}
        silent = [stack.enter_context(dialled(site.endpoints[listener])) for listener in LISTENERS for _ in range(3)]

        await asyncio.to_thread(lambda: [until_closed(connection) for connection in silent])

        for listener in LISTENERS:
            await told(site, listener, "slow_handshake", more_than=before[listener] + 2)


@everywhere
def test_pages_are_for_this_host_alone_unless_they_are_opened(site, listener):
    assert "tetrad_build_info" in site.page(listener)
    # Every address of 127/8 is this host; a server on all addresses would answer here.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", site.ports[listener]), timeout=PATIENCE_S)
    assert "pages_open_to_the_network" not in site.log(listener)


@everywhere
async def test_a_revoked_key_is_refused_within_seconds_connected_or_not(site, listener):
    site.keys.add(KeyRole.ROLLOUT, f"thief-{listener}", replicas="rollout-*")
    keyring = site.keyring(KeyRole.ROLLOUT, f"thief-{listener}")
    with a_peer(site, keyring, listener) as peer:
        assert await peer.is_served()
        refusals = []
        peer.connection.on_refused = refusals.append
        site.keys.revoke(f"thief-{listener}")

        async with asyncio.timeout(PATIENCE_S):
            while not refusals:
                with contextlib.suppress(RefusedError, DeadlineError, TimeoutError):
                    await peer.is_served(timeout_s=0.3)
                await asyncio.sleep(0.1)
        before = site.refusals(listener, "revoked_key")
        with a_peer(site, keyring, listener):
            await told(site, listener, "revoked_key", more_than=before)

    assert {refused.code for refused in refusals} == {RefusalCode.REVOKED_KEY}
    async with a_good_peer(site, listener):
        pass


async def test_a_rotated_key_takes_over_on_both_ends_while_a_peer_is_connected(site):
    async with a_good_peer(site, "reward") as peer:
        for name in ("rollout", "reward", "coordinator"):
            site.keys.rotate(name, grace_s=30.0)
        peer.connection.recognise(site.server_key("reward"))

        assert await peer.is_served()
        with a_peer(site, site.keyring(KeyRole.ROLLOUT, "rollout-0"), "coordinator") as newcomer:
            assert await newcomer.is_served()
            # The coordinator tells everyone the reward's new key once the reward has come back with it.
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    newcomer.connection.send_nowait(a_hello(rollout=None))
                    desired = (await newcomer.connection.receive()).body
                    if [route.public_key for route in desired.rewards] == [site.server_key("reward")]:
                        break


def test_no_secret_is_in_a_log_a_page_or_a_file_of_the_run(site):
    pages = [site.page(role, name) for role in LISTENERS for name in ("metrics", "healthz", "readyz")]
    written = [path for path in site.folder.rglob("*") if path.is_file() and site.keys.path not in path.parents]
    texts = [page.encode() for page in pages] + [path.read_bytes() for path in written]

    assert len(site.secrets()) >= 5
    assert {path.name for path in written} >= {"coordinator.log", "reward.log", "broadcaster.log", "ledger.sqlite"}
    assert b"peer_refused" in b"".join(texts)
    for secret in site.secrets():
        raw = zmq.utils.z85.decode(secret)
        for text in texts:
            assert secret.encode() not in text
            assert raw not in text
            assert raw.hex().encode() not in text.lower()
