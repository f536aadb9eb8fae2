"""Our channel against bare pyzmq in the same run: round trips, messages per second, gigabytes per second.

For each case every way to talk has a server process of its own; the ways take turns, round by round, so that a busy
machine troubles all alike. The median round counts; a ratio compares each round with itself first. The figures named
`tcp_…` compare our channel and blocking pyzmq over loopback with and without CURVE.

    python benchmarks/wire.py [--rounds 5] [--scale 1.0] [--transport ipc|tcp] [--only-curve]
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from results_file import write_results
from wire_peers import KEYS, SECURED, WAYS, Way, num_bytes

from tetrad_transport.keys.folder import KeyFolder

PEERS: Final = Path(__file__).with_name("wire_peers.py")
OURS: Final = "channel"
OURS_SECURED: Final = "channel_curve"
PACKAGES: Final = ("tetrad-transport", "tetrad-wire", "pyzmq", "msgpack", "msgspec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A case of one-way messages."""

    name: str
    num_tokens: int
    """Tokens in a message; 0 is a small message without arrays."""
    count: int
    """Messages of a round."""
    answer_every: int


STREAMS: Final = (
    Streamed(name="small", num_tokens=0, count=20_000, answer_every=500),
    Streamed(name="64_kb", num_tokens=16 << 10, count=4_000, answer_every=50),
    Streamed(name="4_mb", num_tokens=1 << 20, count=200, answer_every=2),
)
NUM_ROUND_TRIPS: Final = 3_000

Ways = dict[str, type[Way]]


def main() -> int:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the messages of a round (default 1)")
    parser.add_argument("--transport", choices=("ipc", "tcp"), default="ipc")
    parser.add_argument("--only-curve", action="store_true", help="measure the figures named tcp_… alone")
    arguments = parser.parse_args()

    metrics: dict[str, float] = {}
    if not arguments.only_curve:
        metrics |= measure(WAYS, arguments.transport, arguments.rounds, scale=arguments.scale)
    secured = measure(SECURED, "tcp", arguments.rounds, scale=arguments.scale)
    metrics |= {f"tcp_{name}": value for name, value in secured.items()}
    for name, value in metrics.items():
        print(f"{name:60} {value:12,.3f}")
    kind = "curve" if arguments.only_curve else arguments.transport
    name = "wire" if kind == "ipc" else f"wire-{kind}"
    print(write_results(name, metrics, packages=PACKAGES))
    return 0


def measure(ways: Ways, transport: str, rounds: int, *, scale: float) -> dict[str, float]:
    """Every figure of some ways to talk."""
    metrics = round_trips(ways, transport, rounds, max(1, int(NUM_ROUND_TRIPS * scale)))
    for case in STREAMS:
        metrics |= streams(ways, transport, rounds, case, scale=scale)
    return metrics


def round_trips(ways: Ways, transport: str, rounds: int, count: int) -> dict[str, float]:
    """Microseconds from a small question to its answer."""
    seconds: dict[str, list[list[float]]] = {way: [] for way in ways}
    with servers(ways, transport, answer_every=1, num_tokens=0) as endpoints:
        for _ in range(rounds):
            for way, endpoint in endpoints.items():
                seconds[way].append(ways[way](0).ask(endpoint, count + 100)[100:])
    metrics: dict[str, float] = {}
    for percent in (50, 99):
        us = {way: [quantile(trips, percent) * 1e6 for trips in turns] for way, turns in seconds.items()}
        metrics |= {f"round_trip_p{percent}_{way}_us": statistics.median(values) for way, values in us.items()}
        metrics |= ratios(f"round_trip_p{percent}", us)
    return metrics


def streams(ways: Ways, transport: str, rounds: int, case: Streamed, *, scale: float) -> dict[str, float]:
    """Messages and gigabytes per second one way."""
    count = max(1, int(case.count * scale) // case.answer_every) * case.answer_every
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with servers(ways, transport, answer_every=case.answer_every, num_tokens=case.num_tokens) as endpoints:
        for _ in range(rounds):
            for way, endpoint in endpoints.items():
                seconds[way].append(ways[way](case.num_tokens).stream(endpoint, count, case.answer_every))
    per_s = {way: count / statistics.median(values) for way, values in seconds.items()}
    metrics = {f"{case.name}_{way}_messages_per_s": value for way, value in per_s.items()}
    if case.num_tokens:
        size = num_bytes(case.num_tokens)
        metrics |= {f"{case.name}_{way}_gigabytes_per_s": value * size / 1e9 for way, value in per_s.items()}
    return metrics | ratios(case.name, seconds)


def ratios(name: str, times: dict[str, list[float]]) -> dict[str, float]:
    """Our speed as a share of each other way's: the median of the rounds, each compared with itself."""
    ours_is = OURS if OURS in times else OURS_SECURED
    return {
        f"{name}_ratio_to_{way}": statistics.median(
            theirs / ours for theirs, ours in zip(values, times[ours_is], strict=True)
        )
        for way, values in times.items()
        if way != ours_is
    }


def quantile(values: list[float], percent: int) -> float:
    """The value that `percent` % of the others do not exceed."""
    return statistics.quantiles(values, n=100)[percent - 1]


@contextlib.contextmanager
def servers(ways: Ways, transport: str, *, answer_every: int, num_tokens: int) -> Iterator[dict[str, str]]:
    """One server process for each way; yields their endpoints."""
    with tempfile.TemporaryDirectory(prefix="tetrad-bench-") as folder, contextlib.ExitStack() as processes:
        KeyFolder(Path(folder, "keys")).init()
        os.environ[KEYS] = str(Path(folder, "keys"))
        endpoints = {way: new_endpoint(transport, folder, way) for way in ways}
        for way, endpoint in endpoints.items():
            command = [sys.executable, str(PEERS), way, endpoint, str(answer_every), str(num_tokens)]
            process = processes.enter_context(subprocess.Popen(command))
            processes.callback(process.kill)
        yield endpoints


def new_endpoint(transport: str, folder: str, way: str) -> str:
    """A path of its own, or a port that was free a moment ago."""
    if transport == "ipc":
        return f"ipc://{folder}/{way}"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


if __name__ == "__main__":
    sys.exit(main())
