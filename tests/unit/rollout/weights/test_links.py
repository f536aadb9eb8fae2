"""Before a model loads: a replica learns from the coordinator where the broadcaster is, and proves every way there."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tetrad_config import RolloutSettings, RunConfig, WeightTransportChoice
from tetrad_rollout.weights.links import Links
from tetrad_rollout.weights.place import Place, look_up
from tetrad_runtime.exits import PeerLost
from tetrad_testing.builders.membership import a_run_description
from tetrad_transport import Listener, ZmqTransport
from tetrad_transport.keys.role import NOBODY
from tetrad_transport.membership import new_incarnation
from tetrad_wire import Message
from tetrad_wire.messages.groups import LinkEchoed, TestLink
from tetrad_wire.messages.joining import AskRun
from tetrad_wire.messages.weights import WeightTransport

pytestmark = pytest.mark.timeout(60)
SOON_S = 10.0


class Site:
    """A coordinator that says where the broadcaster is, and any number of ends that echo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transport = ZmqTransport()
        self.coordinator = f"ipc://{folder}/c"
        self.broadcasters: Iterator[str] = itertools.repeat("")
        """What the coordinator answers, one after the other."""
        self.tested: list[str] = []
        self._ends: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []

    def listen_as_coordinator(self) -> None:
        self._serve(self.coordinator, self._described)

    def echo_at(self, name: str) -> str:
        endpoint = f"ipc://{self.folder}/{name}"
        self._serve(endpoint, lambda message: self._echoed(name, message))
        return endpoint

    def links(self, *, timeout_s: float = SOON_S, **settings: str) -> Links:
        """Of a replica here."""
        config = RunConfig.model_validate({"generator": {"weight_sync_timeout": timeout_s}})
        told = RolloutSettings(
            run_dir=self.folder,
            coordinator=self.coordinator,
            weight_transport=WeightTransportChoice.SHARED_MEMORY,
            **settings,
        )
        return Links(told, config, self.transport, new_incarnation())

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for end in self._ends:
            end.close()
        self.transport.close()

    def _serve(self, endpoint: str, answer: Callable[[Message], object]) -> None:
        listener = self.transport.listen(endpoint)

        async def serve() -> None:
            while True:
                delivery = await listener.receive()
                listener.send_nowait(delivery.peer, answer(delivery.message), reply_to=delivery.message.id)

        self._ends.append(listener)
        self._tasks.append(asyncio.create_task(serve()))

    def _described(self, message: Message) -> object:
        assert isinstance(message.body, AskRun)
        return a_run_description(broadcaster=next(self.broadcasters))

    def _echoed(self, name: str, message: Message) -> object:
        assert isinstance(message.body, TestLink)
        if name not in self.tested:
            self.tested.append(name)
        return LinkEchoed(data=message.body.data)


@contextlib.asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    site = Site(folder)
    try:
        yield site
    finally:
        site.close()


async def test_a_replica_that_is_told_nothing_asks_the_coordinator_until_there_is_a_broadcaster(tmp_path):
    async with a_site(tmp_path) as site:
        site.listen_as_coordinator()
        site.broadcasters = itertools.chain([""], itertools.repeat(site.echo_at("b")))
        links = site.links()

        await links.check()

        assert site.tested == ["b"]
        assert links.bytes_per_s[WeightTransport.SOCKET] > 0


async def test_where_a_relay_serves_the_replica_both_the_relay_and_the_broadcaster_behind_it_are_tested(tmp_path):
    async with a_site(tmp_path) as site:
        site.listen_as_coordinator()
        site.broadcasters = itertools.repeat(site.echo_at("b"))

        await site.links(relay=site.echo_at("relay")).check()

        assert site.tested == ["relay", "b"]


async def test_a_broadcaster_that_has_moved_is_looked_up_and_tested_again(tmp_path):
    async with a_site(tmp_path) as site:
        site.listen_as_coordinator()
        site.broadcasters = itertools.chain([f"ipc://{tmp_path}/gone"], itertools.repeat(site.echo_at("b")))

        await site.links(timeout_s=0.5).check()

        assert site.tested == ["b"]


async def test_a_broadcaster_that_is_silent_where_the_coordinator_says_it_is_ends_the_replica_by_its_name(tmp_path):
    async with a_site(tmp_path) as site:
        site.listen_as_coordinator()
        site.broadcasters = itertools.repeat(f"ipc://{tmp_path}/gone")

        with pytest.raises(PeerLost, match=r"rollout-0 and the broadcaster at ipc://.*/gone: 1024 bytes"):
            await site.links(timeout_s=0.5).check()


async def test_an_endpoint_that_the_replica_is_told_needs_no_coordinator(tmp_path):
    async with a_site(tmp_path) as site:
        await site.links(broadcaster=site.echo_at("b")).check()

        assert site.tested == ["b"]


@pytest.mark.parametrize(("has_coordinator", "reason"), [(False, "did not answer"), (True, "no broadcaster has reg")])
async def test_who_did_not_come_is_named_with_the_limit(tmp_path, has_coordinator, reason):
    async with a_site(tmp_path) as site:
        if has_coordinator:
            site.listen_as_coordinator()
        connection = site.transport.connect(site.coordinator, name="rollout-0")

        with pytest.raises(PeerLost, match=rf"rollout-0 and the coordinator at ipc://.*/c: .*{reason}.* 0\.3 s"):
            await look_up(connection, replica="rollout-0", coordinator=site.coordinator, timeout_s=0.3)
        connection.close()


async def test_the_coordinator_says_endpoint_and_key(tmp_path):
    async with a_site(tmp_path) as site:
        site.listen_as_coordinator()
        site.broadcasters = itertools.repeat("tcp://10.0.0.1:7001")
        connection = site.transport.connect(site.coordinator, name="rollout-0")

        place = await look_up(connection, replica="rollout-0", coordinator=site.coordinator, timeout_s=SOON_S)

        assert place == Place("tcp://10.0.0.1:7001", NOBODY)
        connection.close()
