"""A host asks a coordinator what is run there, over a real socket."""

import asyncio
import threading

import pytest

from tetrad_cli.joining import ask_run, own_address, reachable
from tetrad_runtime.exits import ConfigFault, PeerLost
from tetrad_testing.builders import a_run_description
from tetrad_transport import ZmqTransport
from tetrad_wire.messages.membership import AskRun

LOOPBACK = {"TETRAD_ALLOW_CLEAR_TCP": "1"}


class Head:
    """Answers one question, in a thread of its own."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._is_bound = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._answer()))

    def __enter__(self) -> "Head":
        self._thread.start()
        assert self._is_bound.wait(20)
        return self

    def __exit__(self, *_error: object) -> None:
        self._thread.join(20)

    async def _answer(self) -> None:
        transport = ZmqTransport(allow_clear_tcp=True)
        listener = transport.listen("tcp://127.0.0.1:0")
        self.endpoint = listener.endpoint
        self._is_bound.set()
        async with asyncio.timeout(20):
            delivery = await listener.receive()
            assert isinstance(delivery.message.body, AskRun)
            listener.send_nowait(delivery.peer, a_run_description(), reply_to=delivery.message.id)
            await asyncio.sleep(0)
        listener.close()
        transport.close()


def test_a_host_learns_the_run_file():
    with Head() as head:
        run = ask_run(head.endpoint, name="host-1", timeout_s=20.0, environ=LOOPBACK)

    assert run == a_run_description()


def test_a_head_that_does_not_answer_is_named_with_the_limit_and_what_to_do():
    with pytest.raises(PeerLost, match=r"tcp://127.0.0.1:9 within 0.2 s; start it there with --listen"):
        ask_run("tcp://127.0.0.1:9", name="host-1", timeout_s=0.2, environ=LOOPBACK)


@pytest.mark.parametrize("endpoint", ["ipc:///tmp/x", "tcp://10.0.0.1:0", "tcp://10.0.0.1"])
def test_an_endpoint_that_no_other_host_could_use_is_refused(endpoint):
    with pytest.raises(ConfigFault, match="tcp"):
        reachable(endpoint, {"TETRAD_ALLOW_CLEAR_TCP": "network"})


def test_a_network_is_used_only_at_somebody_s_word():
    with pytest.raises(ConfigFault, match="TETRAD_ALLOW_CLEAR_TCP=network"):
        reachable("tcp://10.0.0.1:7000", LOOPBACK)

    assert reachable("tcp://10.0.0.1:7000", {"TETRAD_ALLOW_CLEAR_TCP": "network"}) == "tcp://10.0.0.1:7000"


def test_the_own_address_is_that_of_the_way_there():
    assert own_address("tcp://127.0.0.1:7000") == "127.0.0.1"
