"""Three running services under keys, on TCP ports of loopback, and peers of every kind that talk to them."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tetrad_config import dump_resolved, load
from tetrad_testing.builders import a_hello, a_pull, a_turn
from tetrad_transport import Connection, PeerFullError, ZmqTransport
from tetrad_transport.keys import Keyring, KeyRole
from tetrad_transport.keys.folder import KeyFolder
from tetrad_transport.keys.role import PublicKey
from tetrad_transport.membership import new_incarnation
from tetrad_transport.refusal import Refusal

PATIENCE_S = 60.0
LISTENERS = {"coordinator": "tetrad_learner", "reward": "tetrad_reward", "broadcaster": "tetrad_broadcaster"}
"""Role of each service that binds, and its module."""
OVERRIDES = (
    *("+experiment=demo", "trainer.run_name=secured", "trainer.logger=[]", "trainer.max_steps=1"),
    *("trainer.eval_before_train=false", "trainer.eval_interval=-1", "trainer.eval_sampled_n=0"),
)


def question_for(listener: str, *, name: str = "rollout-0") -> object:
    """What a rollout may ask there, and gets an answer to."""
    match listener:
        case "coordinator":
            return a_hello(name=name, incarnation=new_incarnation(), rollout=None)
        case "reward":
            return a_turn(episode="nobody's")
        case _:
            return a_pull(incarnation=new_incarnation(), name=name)


@dataclass
class Site:
    folder: Path
    keys: KeyFolder
    endpoints: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def run_dir(self) -> Path:
        return self.folder / "secured"

    def start(self) -> None:
        self.run_dir.mkdir()
        config = load(OVERRIDES, environ={}, cwd=self.folder).config
        (self.run_dir / "config.yaml").write_text(dump_resolved(config))
        for role in LISTENERS:
            self.endpoints[role], self.ports[role] = f"tcp://127.0.0.1:{free_port()}", free_port()
        for role in LISTENERS:
            self._start(role)
        for role in LISTENERS:
            self.until(lambda role=role: "tetrad_build_info" in self.page(role), f"{role} serves its pages")

    def _start(self, role: str) -> None:
        name = {"coordinator": "learner", "reward": "reward-0"}.get(role, role)
        settings = {
            "RUN_DIR": self.run_dir,
            "NAME": name,
            "BIND": self.endpoints[role],
            "METRICS_PORT": self.ports[role],
            "KEYS": self.keys.path,
        }
        if role != "coordinator":
            settings["COORDINATOR"] = self.endpoints["coordinator"]
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
        environment = surroundings | {f"TETRAD_{name}": str(value) for name, value in settings.items()}
        with (self.folder / f"{role}.log").open("ab") as log:
            self.processes[role] = subprocess.Popen(
                [sys.executable, "-m", LISTENERS[role]],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)

    def page(self, role: str, name: str = "metrics") -> str:
        assert self.processes[role].poll() is None, self.log(role)[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[role]}/{name}", timeout=5) as page:
                return page.read().decode()
        except OSError:
            return ""

    def metric(self, role: str, series: str) -> float:
        lines = [line for line in self.page(role).splitlines() if line.startswith(f"{series} ")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def refusals(self, role: str, reason: str) -> float:
        return self.metric(role, f'tetrad_zmq_refusals_total{{endpoint="{role}",reason="{reason}"}}')

    def received(self, role: str) -> float:
        return self.metric(role, f'tetrad_zmq_messages_total{{direction="received",endpoint="{role}"}}')

    def log(self, role: str) -> str:
        return (self.folder / f"{role}.log").read_text()

    def until(self, is_so: Callable[[], object], what: str, *, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
            time.sleep(0.05)

    def keyring(self, role: KeyRole, name: str) -> Keyring:
        return Keyring(self.keys.path, role=role, name=name)

    def server_key(self, role: str) -> PublicKey:
        return next(one.public_key for one, state in self.keys.records() if one.name == role and state == "active")

    def secrets(self) -> list[str]:
        """Every secret key that there is, as it stands in its file."""
        files = (self.keys.path / "private").glob("*.key")
        return [line.split('"')[1] for file in files for line in file.read_text().splitlines() if "secret" in line]


@contextlib.contextmanager
def a_peer(site: Site, keyring: Keyring, listener: str, *, name: str = "rollout-0") -> Iterator["Peer"]:
    """A connection to one of the services; what it hears of refusals is noted."""
    noted: list[Refusal] = []
    transport = ZmqTransport(keyring=keyring, on_refusal=noted.append)
    connection = transport.connect(site.endpoints[listener], name=name, server_key=site.server_key(listener))
    try:
        yield Peer(connection, listener, noted)
    finally:
        connection.close()
        transport.close()


@dataclass
class Peer:
    connection: Connection
    listener: str
    noted: list[Refusal]

    async def is_served(self, *, timeout_s: float = PATIENCE_S) -> bool:
        """Whether a question that a rollout may ask is answered."""
        if self.listener == "coordinator":
            async with asyncio.timeout(timeout_s):
                return await self._hears_the_coordinator()
        await self.connection.request(question_for(self.listener), timeout_s=timeout_s, resend_s=1.0)
        return True

    async def _hears_the_coordinator(self) -> bool:
        while True:
            with contextlib.suppress(PeerFullError):  # nobody there at this moment
                self.connection.send_nowait(question_for("coordinator"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.connection.receive()
                    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def told(site: Site, listener: str, reason: str, *, more_than: float = 0.0) -> None:
    """Wait for the metric, then look for the line of the audit log."""
    what = f"{listener} counts {reason}"
    await asyncio.to_thread(site.until, lambda: site.refusals(listener, reason) > more_than, what)
    lines = [line for line in site.log(listener).splitlines() if '"event": "peer_refused"' in line]
    assert any(f'"reason": "{reason}"' in line for line in lines)


def dialled(endpoint: str) -> socket.socket:
    """A connection that has said nothing yet."""
    parts = urlsplit(endpoint)
    return socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S)


def until_closed(connection: socket.socket) -> bytes:
    """Read until the other side hangs up; its greeting comes first."""
    heard = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(4096):
            heard.extend(data)
    return bytes(heard)


def until_heard(connection: socket.socket, word: bytes) -> bytes:
    """Read until a word has come."""
    heard = bytearray()
    while word not in heard:
        data = connection.recv(4096)
        assert data, f"hung up after {bytes(heard)!r}"
        heard.extend(data)
    return bytes(heard)
