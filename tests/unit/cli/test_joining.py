"""A host asks a coordinator what is run there, over a real socket."""

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

from tetrad_cli.joining import ask_run, own_address, reachable
from tetrad_runtime.exits import ConfigFault, PeerLost
from tetrad_testing.builders import a_run_description
from tetrad_transport import Listener, ZmqTransport
from tetrad_transport.keys import Keyring, KeyRole, files
from tetrad_transport.keys.folder import KeyFolder
from tetrad_transport.keys.shares import write_share
from tetrad_wire.messages.joining import AskRun

LOOPBACK = {"TETRAD_ALLOW_CLEAR_TCP": "1"}


class Head:
    """Answers one question, in a thread of its own; under keys where it is given some."""

    def __init__(self, keys: Path | None = None) -> None:
        self.endpoint = ""
        self._keyring = None if keys is None else Keyring(keys, role=KeyRole.COORDINATOR, name="learner")
        self._is_over = threading.Event()
        self._is_bound = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._answer()))

    def __enter__(self) -> "Head":
        self._thread.start()
        assert self._is_bound.wait(20)
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join(20)

    async def _answer(self) -> None:
        transport = ZmqTransport(allow_clear_tcp=True, keyring=self._keyring)
        listener = transport.listen("tcp://127.0.0.1:0")
        self.endpoint = listener.endpoint
        self._is_bound.set()
        answering = asyncio.create_task(self._answer_one(listener))
        await asyncio.to_thread(self._is_over.wait, 20)
        answering.cancel()
        await asyncio.wait((answering,))
        listener.close()
        transport.close()

    async def _answer_one(self, listener: Listener) -> None:
        delivery = await listener.receive()
        assert isinstance(delivery.message.body, AskRun)
        listener.send_nowait(delivery.peer, a_run_description(), reply_to=delivery.message.id)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    keys = KeyFolder(tmp_path / "keys")
    keys.init()
    return keys


def test_a_host_learns_the_run_file():
    with Head() as head:
        run = ask_run(head.endpoint, name="host-1", timeout_s=20.0, environ=LOOPBACK)

    assert run == a_run_description()


def test_a_host_with_the_share_of_an_agent_learns_the_run_file_under_keys(keys, tmp_path):
    write_share(keys, "agent", tmp_path / "agent")

    with Head(keys.path) as head:
        run = ask_run(head.endpoint, name="host-1", timeout_s=20.0, environ={"TETRAD_KEYS": str(tmp_path / "agent")})

    assert run == a_run_description()


def test_a_host_whose_key_the_head_does_not_know_is_told_so_and_what_to_copy(keys, tmp_path):
    strangers = KeyFolder(tmp_path / "strangers")
    strangers.init()
    files.write_public(strangers.public_path("coordinator"), files.read_public(keys.public_path("coordinator")))
    environ = {"TETRAD_KEYS": str(strangers.path)}
    said: list[str] = []

    with (
        Head(keys.path) as head,
        pytest.raises(ConfigFault, match=r"does not admit our key.*; copy private/trainer.key"),
    ):
        ask_run(head.endpoint, name="host-1", timeout_s=3.0, environ=environ, say=said.append)

    assert len(said) == 1
    assert said[0].endswith("host-1 tries again for 3 s")


def test_a_key_that_is_turned_away_is_told_at_once_and_may_be_admitted_later(keys, tmp_path):
    write_share(keys, "agent", tmp_path / "agent")
    environ = {"TETRAD_KEYS": str(tmp_path / "agent")}
    admitted, put_aside = keys.public_path("trainer"), tmp_path / "trainer.key"
    admitted.rename(put_aside)

    def admit(_text: str) -> None:
        put_aside.rename(admitted)

    with Head(keys.path) as head:
        run = ask_run(head.endpoint, name="host-1", timeout_s=20.0, environ=environ, say=admit)

    assert run == a_run_description()


def test_a_host_whose_key_is_for_others_is_told_so(keys, tmp_path):
    write_share(keys, "agent", tmp_path / "agent")
    shutil.copy(keys.private_path("rollout"), tmp_path / "agent" / "private" / "trainer.key")

    with pytest.raises(ConfigFault, match="is the key of a rollout; host-1 is a trainer"):
        ask_run("tcp://127.0.0.1:9", name="host-1", timeout_s=3.0, environ={"TETRAD_KEYS": str(tmp_path / "agent")})


def test_a_head_that_does_not_answer_is_named_with_the_limit_and_what_to_do():
    with pytest.raises(PeerLost, match=r"tcp://127.0.0.1:9 within 0.2 s; start it there with --listen"):
        ask_run("tcp://127.0.0.1:9", name="host-1", timeout_s=0.2, environ=LOOPBACK)


@pytest.mark.parametrize("endpoint", ["ipc:///tmp/x", "tcp://10.0.0.1:0", "tcp://10.0.0.1"])
def test_an_endpoint_that_no_other_host_could_use_is_refused(endpoint):
    with pytest.raises(ConfigFault, match="tcp"):
        reachable(endpoint, {"TETRAD_KEYS": "/keys"})


@pytest.mark.parametrize("word", ["1", "network"])
def test_hosts_talk_under_keys_or_not_at_all(word):
    with pytest.raises(ConfigFault, match=r"without keys; make keys with `tetrad keys init` and name their folder"):
        reachable("tcp://10.0.0.1:7000", {"TETRAD_ALLOW_CLEAR_TCP": word})

    assert reachable("tcp://10.0.0.1:7000", {"TETRAD_KEYS": "/keys"}) == "tcp://10.0.0.1:7000"


def test_the_own_address_is_that_of_the_way_there():
    assert own_address("tcp://127.0.0.1:7000") == "127.0.0.1"
