"""Weights from learner to engines with real processes and shared memory: what kills and delays must not break."""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zmq

from tetrad_config import RunConfig, dump_resolved
from tetrad_learner.publishing import Published, Publisher
from tetrad_runtime.exits import ExitCode
from tetrad_transport import Listener, PeerGoneError, ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Parameter, lay_out
from tetrad_weights.header import HEADER_BYTES
from tetrad_weights.segments import DIRECTORY
from tetrad_wire.ids import PolicyVersion, RunId
from tetrad_wire.messages.membership import Bye, Desired, Heartbeat, Hello, RunState

pytestmark = pytest.mark.timeout(120)

SOON_S = 30.0
ENGINE = Path(__file__).with_name("weight_engine.py")
SMALL = lay_out([Parameter("embed", "float32", (1000, 64)), Parameter("norm", "float32", (64,))])
# Many chunks, so that there is a middle of a copy.
LARGE = lay_out([Parameter(f"layer.{index}", "float32", (2 << 20,)) for index in range(8)])


@dataclass
class Registry:
    """The coordinator's side of membership: answers whoever says Hello."""

    listener: Listener
    run: RunId
    state: RunState = RunState.RUNNING
    hellos: list[Hello] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    byes: list[Bye] = field(default_factory=list)

    async def serve(self) -> None:
        while True:
            delivery = await self.listener.receive()
            match delivery.message.body:
                case Hello() as hello:
                    self.hellos.append(hello)
                case Heartbeat() as beat:
                    self.beats.append(beat)
                case Bye() as bye:
                    self.byes.append(bye)
                    continue
            desired = Desired(generation=1, state=self.state, run=self.run, heartbeat_s=0.1)
            # Whoever was killed meanwhile needs no answer.
            with contextlib.suppress(PeerGoneError):
                self.listener.send_nowait(delivery.peer, desired)

    def holds(self) -> tuple[int, ...] | None:
        """What the newest broadcaster said last."""
        beats = [beat for beat in self.beats if beat.incarnation == self.hellos[-1].incarnation]
        return beats[-1].holds if beats else None


@dataclass
class Engine:
    process: asyncio.subprocess.Process

    def order(self, version: int, *, order: str = "fetch") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order} {version}\n".encode())

    async def stops_in_mid_copy(self, version: int) -> None:
        self.order(version, order="stop")
        await self.hears(f"staging {version}")
        stat = Path(f"/proc/{self.process.pid}/stat")
        await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it has stopped itself")

    def goes_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def hears(self, word: str) -> str:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), SOON_S)
        assert line.decode().startswith(word), line
        return line.decode().strip()

    async def fetch(self, version: int) -> str:
        """The digest of what it fetched."""
        self.order(version)
        await self.hears(f"staging {version}")
        return (await self.hears(f"fetched {version}")).split()[2]


@dataclass
class Site:
    folder: Path
    transport: ZmqTransport
    registry: Registry
    publisher: Publisher
    stack: contextlib.AsyncExitStack
    broadcaster: asyncio.subprocess.Process | None = None
    layout = SMALL

    @property
    def endpoint(self) -> str:
        return f"ipc://{self.folder}/b"

    async def start_broadcaster(self) -> None:
        known = len(self.registry.hellos)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
        self.broadcaster = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tetrad_broadcaster",
            env=environment
            | {
                "TETRAD_RUN_DIR": str(self.folder),
                "TETRAD_COORDINATOR": self.registry.listener.endpoint,
                "TETRAD_BIND": self.endpoint,
            },
            stderr=(self.folder / "log").open("ab"),
        )
        self.stack.push_async_callback(kill, self.broadcaster)
        try:
            await until(lambda: self.is_registered_beyond(known), "the broadcaster has registered")
        except AssertionError:
            raise AssertionError(f"exit code {self.broadcaster.returncode}: {self.log()[-4000:]}") from None

    def is_registered_beyond(self, known: int) -> bool:
        assert self.broadcaster is not None
        assert self.broadcaster.returncode is None
        return len(self.registry.hellos) > known and self.registry.holds() is not None

    async def start_engine(self, name: str, *, timeout_s: float = SOON_S) -> Engine:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ENGINE),
            self.endpoint,
            name,
            str(timeout_s),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.stack.push_async_callback(kill, process)
        return Engine(process)

    async def publish(self, version: int) -> Published:
        def fill(buffer: np.ndarray) -> None:
            buffer.view(np.uint32)[:] = version
            buffer[: 1 << 10] = np.random.default_rng(version).integers(0, 256, 1 << 10, dtype=np.uint8)

        return await self.publisher.publish(version=PolicyVersion(version), step=version, layout=self.layout, fill=fill)

    def segments(self) -> list[Path]:
        """Of learner and broadcaster."""
        return sorted(DIRECTORY.glob(f"tetrad.{self.folder.name}.*"))

    def segments_of_the_broadcaster(self) -> list[Path]:
        incarnation = self.registry.hellos[-1].incarnation
        return [path for path in self.segments() if f".{incarnation}." in path.name]

    async def page(self, name: str) -> str:
        url = f"{self.registry.hellos[-1].metrics_url}/{name}"
        return await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=SOON_S).read().decode())

    async def metric(self, series: str) -> float:
        lines = (await self.page("metrics")).splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))

    def log(self) -> str:
        return (self.folder / "log").read_text()


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(SOON_S):
            while not condition():  # noqa: ASYNC110 - what is waited for is another process's doing
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {SOON_S} s: {what}") from None


async def kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await asyncio.wait_for(process.wait(), SOON_S)


@contextlib.asynccontextmanager
async def a_site(*, timeout_s: float = SOON_S, layout=SMALL) -> AsyncIterator[Site]:
    """Learner and coordinator in this process, a broadcaster in its own; at the end nothing is left in memory."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"tetrad-{secrets.token_hex(4)}-")))
        config = RunConfig.model_validate({"generator": {"weight_sync_timeout": timeout_s}})
        (folder / "config.yaml").write_text(dump_resolved(config))
        transport = ZmqTransport()
        stack.callback(transport.close)
        registry = Registry(transport.listen(f"ipc://{folder}/c"), RunId(folder.name))
        serving = asyncio.create_task(registry.serve())
        stack.callback(serving.cancel)
        connection = transport.connect(f"ipc://{folder}/b", name="trainer-0")
        publisher = Publisher(connection, run=folder.name, incarnation=new_incarnation(), timeout_s=SOON_S)
        stack.callback(publisher.close)
        site = Site(folder, transport, registry, publisher, stack)
        site.layout = layout
        await site.start_broadcaster()
        yield site
        publisher.close()
        assert site.broadcaster is not None
        site.broadcaster.terminate()
        assert await asyncio.wait_for(site.broadcaster.wait(), SOON_S) == ExitCode.OK
        assert site.segments() == []


async def test_every_engine_gets_what_the_learner_published_late_ones_too():
    async with a_site() as site:
        early = await site.start_engine("rollout-0")
        first = await site.publish(1)
        assert await early.fetch(1) == first.digest

        second = await site.publish(2)
        late = await site.start_engine("rollout-1")

        assert await asyncio.gather(early.fetch(2), late.fetch(2)) == [second.digest, second.digest]
        assert second.digest != first.digest
        await until(lambda: site.registry.holds() == (1, 2), "the heartbeat says what is held")
        assert await site.metric('tetrad_broadcast_versions_total{transport="shared_memory"}') == 2
        assert await site.metric('tetrad_broadcast_subscribers{state="current"}') == 2


async def test_an_engine_that_asks_before_the_version_is_there_gets_it_when_it_is():
    async with a_site() as site:
        engine = await site.start_engine("rollout-0")
        engine.order(1)

        published = await site.publish(1)

        await engine.hears("staging 1")
        assert (await engine.hears("fetched 1")).split()[2] == published.digest


async def test_a_broadcaster_killed_in_mid_publish_is_replaced_and_the_same_version_goes_through():
    async with a_site(layout=LARGE) as site:
        assert site.broadcaster is not None
        publishing = asyncio.create_task(site.publish(1))
        # The learner's own segment, and then the one that the broadcaster clones it into.
        await until(lambda: len(site.segments()) == 2 or publishing.done(), "the clone has begun")
        assert not publishing.done()
        await kill(site.broadcaster)

        stale = set(site.segments())
        await site.start_broadcaster()
        published = await asyncio.wait_for(publishing, SOON_S)

        engine = await site.start_engine("rollout-0")
        assert await engine.fetch(1) == published.digest
        # The learner's is left; that of the killed broadcaster goes with whoever looks first, of this run or another.
        assert len(stale & set(site.segments())) == 1


async def test_a_broadcaster_that_lost_everything_says_so_and_is_given_the_same_bytes_again():
    async with a_site() as site:
        assert site.broadcaster is not None
        published = await site.publish(1)
        await until(lambda: site.registry.holds() == (1,), "the heartbeat says what is held")
        await kill(site.broadcaster)

        await site.start_broadcaster()
        assert site.registry.holds() == ()
        again = await site.publisher.republish(PolicyVersion(1))

        engine = await site.start_engine("rollout-0")
        assert await engine.fetch(1) == again.digest == published.digest


async def test_an_engine_killed_in_mid_copy_costs_nothing():
    async with a_site(layout=LARGE) as site:
        await site.publish(1)
        engine, other = await site.start_engine("rollout-0"), await site.start_engine("rollout-1")

        engine.order(1, order="kill")
        assert await asyncio.wait_for(engine.process.wait(), SOON_S) == -signal.SIGKILL
        for version in (2, 3):
            published = await site.publish(version)
            assert await other.fetch(version) == published.digest

        await until(lambda: "consumer_died" in site.log(), "its death was seen")
        await until(lambda: len(site.segments()) == 4, "the learner and the broadcaster have two segments each")


async def test_two_versions_are_in_flight_and_the_older_one_stays_whole():
    async with a_site(layout=LARGE) as site:
        first = await site.publish(1)
        slow, fast = await site.start_engine("rollout-0"), await site.start_engine("rollout-1")
        await slow.stops_in_mid_copy(1)

        for version in (2, 3):
            published = await site.publish(version)
            assert await fast.fetch(version) == published.digest
        slow.goes_on()

        assert (await slow.hears("fetched 1")).split()[2] == first.digest


async def test_a_slow_engine_is_quarantined_by_name_while_the_others_go_on_and_comes_back():
    async with a_site(layout=LARGE, timeout_s=3.0) as site:
        await site.publish(1)
        slow, fast = await site.start_engine("rollout-slow"), await site.start_engine("rollout-fast")
        await slow.stops_in_mid_copy(1)

        for version in (2, 3):
            published = await site.publish(version)
            assert await fast.fetch(version) == published.digest
        await until(lambda: "consumer_quarantined" in site.log(), "its deadline came")
        for version in (4, 5):
            published = await site.publish(version)
            assert await fast.fetch(version) == published.digest

        quarantine = next(line for line in site.log().splitlines() if "consumer_quarantined" in line)
        assert "rollout-slow" in quarantine
        assert await site.metric('tetrad_broadcast_failures_total{reason="timeout"}') == 1
        assert await site.metric('tetrad_broadcast_subscribers{state="quarantined"}') == 1
        slow.goes_on()
        assert "FetchDeadlineError" in await slow.hears("failed 1")
        assert await slow.fetch(5) == published.digest
        assert await site.metric('tetrad_broadcast_subscribers{state="quarantined"}') == 0


async def test_a_poisoned_byte_is_caught_by_the_engine_and_its_tensor_named():
    async with a_site() as site:
        await site.publish(1)
        with site.segments_of_the_broadcaster()[0].open("r+b") as file:
            file.seek(HEADER_BYTES + SMALL.tensors[1].offset + 5)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))

        engine = await site.start_engine("rollout-0")
        engine.order(1)
        await engine.hears("staging 1")

        assert "DigestMismatchError: tensor norm has digest" in await engine.hears("failed 1")
        await until(lambda: "reading_given_up" in site.log(), "the broadcaster was told")


async def test_a_run_that_is_over_ends_the_broadcaster_in_order():
    async with a_site() as site:
        await site.publish(1)

        site.registry.state = RunState.ENDED

        assert site.broadcaster is not None
        assert await asyncio.wait_for(site.broadcaster.wait(), SOON_S) == ExitCode.OK
        await until(lambda: site.registry.byes, "it said farewell")
        site.registry.state = RunState.RUNNING
        await site.start_broadcaster()


async def test_health_and_readiness_are_answered_by_the_service():
    async with a_site() as site:
        assert site.broadcaster is not None
        for page in ("healthz", "readyz"):
            assert f'"pid": {site.broadcaster.pid}' in await site.page(page)


async def test_frames_that_are_no_messages_harm_nobody():
    async with a_site() as site:
        context = zmq.Context()
        stranger = context.socket(zmq.DEALER)
        stranger.connect(site.endpoint)
        for frames in ([b""], [b"\xc1" * 100], [b"\x80"], [b"\x81\xa1v\xff"] * 5, [secrets.token_bytes(5000)]):
            stranger.send_multipart(frames)

        published = await site.publish(1)

        engine = await site.start_engine("rollout-0")
        assert await engine.fetch(1) == published.digest
        stranger.close(linger=0)
        context.term()
