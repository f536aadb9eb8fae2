"""Our channel against bare pyzmq in the same run: round trips, messages per second, gigabytes per second.

For each case every way to talk has a server process of its own; the ways take turns, round by round, so that a busy
machine troubles all alike. The median round counts; a ratio compares each round with itself first.

    python benchmarks/wire.py [--rounds 5] [--scale 1.0] [--transport ipc|tcp]
"""

import argparse
import contextlib
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
from wire_peers import WAYS, num_bytes

PEERS: Final = Path(__file__).with_name("wire_peers.py")
OURS: Final = "channel"
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


def main() -> int:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the messages of a round (default 1)")
    parser.add_argument("--transport", choices=("ipc", "tcp"), default="ipc")
    arguments = parser.parse_args()

    metrics = round_trips(arguments.transport, arguments.rounds, max(1, int(NUM_ROUND_TRIPS * arguments.scale)))
    for case in STREAMS:
        metrics |= streams(arguments.transport, arguments.rounds, case, scale=arguments.scale)
    for name, value in metrics.items():
        print(f"{name:60} {value:12,.3f}")
    name = "wire" if arguments.transport == "ipc" else f"wire-{arguments.transport}"
    print(write_results(name, metrics, packages=PACKAGES))
    return 0


def round_trips(transport: str, rounds: int, count: int) -> dict[str, float]:
    """Microseconds from a small question to its answer."""
    seconds: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with servers(transport, answer_every=1, num_tokens=0) as endpoints:
        for _ in range(rounds):
            for way, endpoint in endpoints.items():
                seconds[way].append(WAYS[way](0).ask(endpoint, count + 100)[100:])
    metrics: dict[str, float] = {}
    for percent in (50, 99):
        us = {way: [quantile(trips, percent) * 1e6 for trips in turns] for way, turns in seconds.items()}
        metrics |= {f"round_trip_p{percent}_{way}_us": statistics.median(values) for way, values in us.items()}
        metrics |= ratios(f"round_trip_p{percent}", us)
    return metrics


def streams(transport: str, rounds: int, case: Streamed, *, scale: float) -> dict[str, float]:
    """Messages and gigabytes per second one way."""
    count = max(1, int(case.count * scale) // case.answer_every) * case.answer_every
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with servers(transport, answer_every=case.answer_every, num_tokens=case.num_tokens) as endpoints:
        for _ in range(rounds):
            for way, endpoint in endpoints.items():
                seconds[way].append(WAYS[way](case.num_tokens).stream(endpoint, count, case.answer_every))
    per_s = {way: count / statistics.median(values) for way, values in seconds.items()}
    metrics = {f"{case.name}_{way}_messages_per_s": value for way, value in per_s.items()}
    if case.num_tokens:
        size = num_bytes(case.num_tokens)
        metrics |= {f"{case.name}_{way}_gigabytes_per_s": value * size / 1e9 for way, value in per_s.items()}
    return metrics | ratios(case.name, seconds)


def ratios(name: str, times: dict[str, list[float]]) -> dict[str, float]:
    """Our speed as a share of each other way's: the median of the rounds, each compared with itself."""
    return {
        f"{name}_ratio_to_{way}": statistics.median(
            theirs / ours for theirs, ours in zip(values, times[OURS], strict=True)
        )
        for way, values in times.items()
        if way != OURS
    }


def quantile(values: list[float], percent: int) -> float:
    """The value that `percent` % of the others do not exceed."""
    return statistics.quantiles(values, n=100)[percent - 1]


@contextlib.contextmanager
def servers(transport: str, *, answer_every: int, num_tokens: int) -> Iterator[dict[str, str]]:
    """One server process for each way; yields their endpoints."""
    with tempfile.TemporaryDirectory(prefix="tetrad-bench-") as folder, contextlib.ExitStack() as processes:
        endpoints = {way: new_endpoint(transport, folder, way) for way in WAYS}
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
