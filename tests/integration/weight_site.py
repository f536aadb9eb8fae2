"""Learner and coordinator in the test's process, a broadcaster and engines in processes of their own, real bytes."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tetrad_config import RunConfig, dump_resolved
from tetrad_learner.publishing import Published, Publisher
from tetrad_runtime.exits import ExitCode
from tetrad_transport import Listener, PeerGoneError, ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Parameter, lay_out
from tetrad_weights.segments import DIRECTORY
from tetrad_wire.ids import PolicyVersion, RunId
from tetrad_wire.messages.membership import Bye, Desired, Heartbeat, Hello, RunState

SOON_S = 120.0
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
    endpoint: str
    """Of the broadcaster."""
    broadcaster: asyncio.subprocess.Process | None = None
    layout = SMALL
    group_host: str = "127.0.0.1"

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
                "TETRAD_GROUP_HOST": self.group_host,
                "TETRAD_ALLOW_CLEAR_TCP": "1",
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

    async def start_engine(
        self,
        name: str,
        *,
        transports: str = "shared_memory,socket",
        endpoint: str = "",
        timeout_s: float = SOON_S,
        variables: Mapping[str, str] | None = None,
    ) -> Engine:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ENGINE),
            endpoint or self.endpoint,
            name,
            str(timeout_s),
            transports,
            env={**os.environ, **(variables or {})},
            stderr=(self.folder / f"{name}.log").open("ab"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.stack.push_async_callback(kill, process)
        return Engine(process)

    async def publish(self, version: int, *, fill: Callable[[np.ndarray], None] | None = None) -> Published:
        def write(buffer: np.ndarray) -> None:
            buffer.view(np.uint32)[:] = version
            buffer[: 1 << 10] = np.random.default_rng(version).integers(0, 256, 1 << 10, dtype=np.uint8)

        return await self.publisher.publish(
            version=PolicyVersion(version), step=version, layout=self.layout, fill=fill or write
        )

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

    def log(self, name: str = "") -> str:
        """Of the broadcaster, or of an engine."""
        return (self.folder / (f"{name}.log" if name else "log")).read_text()


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
async def a_site(
    *, timeout_s: float = SOON_S, layout=SMALL, scheme: str = "ipc", group_host: str = "127.0.0.1"
) -> AsyncIterator[Site]:
    """Learner and coordinator in this process, a broadcaster in its own; at the end nothing is left in memory."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"tetrad-{secrets.token_hex(4)}-")))
        config = RunConfig.model_validate({"generator": {"weight_sync_timeout": timeout_s}})
        (folder / "config.yaml").write_text(dump_resolved(config))
        endpoint = f"ipc://{folder}/b" if scheme == "ipc" else f"tcp://127.0.0.1:{a_free_port()}"
        transport = ZmqTransport(allow_clear_tcp=True)
        stack.callback(transport.close)
        registry = Registry(transport.listen(f"ipc://{folder}/c"), RunId(folder.name))
        serving = asyncio.create_task(registry.serve())
        stack.callback(serving.cancel)
        connection = transport.connect(endpoint, name="trainer-0")
        publisher = Publisher(connection, run=folder.name, incarnation=new_incarnation(), timeout_s=SOON_S)
        stack.callback(publisher.close)
        site = Site(folder, transport, registry, publisher, stack, endpoint, group_host=group_host)
        site.layout = layout
        await site.start_broadcaster()
        yield site
        publisher.close()
        assert site.broadcaster is not None
        site.broadcaster.terminate()
        code = await asyncio.wait_for(site.broadcaster.wait(), SOON_S)
        assert code == ExitCode.OK, f"exit code {code}: {site.log()[-3000:]}"
        assert site.segments() == []


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
