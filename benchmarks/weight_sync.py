"""Weight sync between real processes: through shared memory against memcpy, in chunks over TCP against bare pyzmq.

Learner (this process), broadcaster (the service itself) and engine (a child of this file) move versions of about a
gigabyte. `copy`: an engine maps the broadcaster's segment and copies it, no digest. `end_to_end`: from the learner's
first byte to the engine's last verified one: fill, digest, clone with digests, copy with digests. `socket`: an engine
that cannot reach the segment fetches the version over loopback, digests included; its peer is bare pyzmq without.

    python benchmarks/weight_sync.py [--gigabytes 1.0] [--rounds 5] [--algorithm xxh3_128|sum64]
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
from results_file import write_results
from weight_sync_bare import BareSender, receive_bare

from tetrad_config import RunConfig, dump_resolved
from tetrad_learner.publishing import Published, Publisher
from tetrad_rollout.weights.receiver import WeightReceiver
from tetrad_telemetry.logs import configure
from tetrad_transport import Connection, Listener, PeerGoneError, ZmqTransport
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Bytes, DigestAlgorithm, Layout, Maps, Parameter, lay_out
from tetrad_wire.ids import PolicyVersion, RunId
from tetrad_wire.messages.membership import Desired, Heartbeat, Hello, RunState
from tetrad_wire.messages.weights import Manifest, PullVersion, SegmentReleased, VersionOffered, WeightTransport

TIMEOUT_S = 60.0
WARM_UP = 2
RUN = RunId("bench-weight-sync")


def a_decoder(gigabytes: float) -> Layout:
    """A decoder in float32 with a vocabulary of 32,000, as many layers as fill the size."""
    hidden, inner, vocabulary = 1024, 4096, 32_000
    layer = [
        *((f"self_attn.{name}_proj.weight", (hidden, hidden)) for name in "qkvo"),
        *((f"mlp.{name}_proj.weight", (inner, hidden)) for name in ("gate", "up", "down")),
        ("input_layernorm.weight", (hidden,)),
    ]
    layer_bytes = 4 * sum(int(np.prod(shape)) for _name, shape in layer)
    num_layers = round((gigabytes * 1e9 - 4 * vocabulary * hidden) / layer_bytes)
    parameters = [Parameter("model.embed_tokens.weight", "float32", (vocabulary, hidden))]
    for index in range(num_layers):
        parameters += [Parameter(f"model.layers.{index}.{name}", "float32", shape) for name, shape in layer]
    return lay_out(parameters)


def memcpy_s(source: Bytes, destination: Bytes) -> float:
    """Seconds of one copy between two arrays whose pages are all there."""
    started = time.perf_counter()
    np.copyto(destination, source)
    return time.perf_counter() - started


# ── the engine: a process of its own ──


async def engine(endpoint: str, bare_endpoint: str) -> None:
    """Fetch each version named on standard input; answer on standard output with seconds."""
    transport = ZmqTransport(allow_clear_tcp=True)
    connection = transport.connect(endpoint, name="engine")
    incarnation = new_incarnation()
    receiver = WeightReceiver(connection, incarnation=incarnation, replica="engine", timeout_s=TIMEOUT_S)
    far = WeightReceiver(
        connection,
        incarnation=new_incarnation(),
        replica="far-engine",
        timeout_s=TIMEOUT_S,
        transports=(WeightTransport.SOCKET,),
    )
    maps = Maps()
    buffer = other = np.empty(0, dtype=np.uint8)

    def stage(manifest: Manifest) -> Bytes:
        nonlocal buffer
        if len(buffer) != manifest.num_bytes:
            buffer = np.ones(manifest.num_bytes, dtype=np.uint8)
        return buffer

    for line in iter(sys.stdin.readline, ""):
        version = PolicyVersion(int(line))
        started = time.perf_counter()
        await receiver.fetch(version, stage)
        fetch_s = time.perf_counter() - started
        print(json.dumps({"fetch_s": fetch_s, "fetch_copy_s": receiver.statistics().last_copy_s}), flush=True)
        copy_s = await copy_alone(connection, version, maps, buffer)
        if len(other) != len(buffer):
            other = np.ones(len(buffer), dtype=np.uint8)
        alone = {"copy_s": copy_s, "memcpy_s": memcpy_s(other, buffer)}
        await far.fetch(version, stage)
        socket_s = far.statistics().last_copy_s
        bare_s = await asyncio.to_thread(receive_bare, bare_endpoint, other)
        print(json.dumps({**alone, "socket_s": socket_s, "socket_bare_s": bare_s}), flush=True)
    maps.close()
    receiver.close()
    far.close()
    connection.close()
    transport.close()


async def copy_alone(connection: Connection, version: PolicyVersion, maps: Maps, buffer: Bytes) -> float:
    """Seconds to attach the broadcaster's segment, copy it and let it go."""
    reader = new_incarnation()
    question = PullVersion(version=version, incarnation=reader)
    offer = await connection.request(question, timeout_s=TIMEOUT_S)
    assert isinstance(offer, VersionOffered)
    started = time.perf_counter()
    with maps.attach(offer.segment) as attachment:
        np.copyto(buffer, attachment.payload)
    seconds = time.perf_counter() - started
    connection.send_nowait(SegmentReleased(version=version, incarnation=reader, digest=offer.manifest.digest))
    return seconds


# ── the learner: this process ──


@contextlib.asynccontextmanager
async def a_broadcaster(transport: ZmqTransport, folder: Path) -> AsyncIterator[str]:
    """Run the service in a process of its own; yield its endpoint."""
    coordinator = transport.listen(f"ipc://{folder}/coordinator")
    endpoint = f"tcp://127.0.0.1:{a_free_port()}"
    (folder / "config.yaml").write_text(dump_resolved(RunConfig()))
    registry = asyncio.create_task(register(coordinator, endpoint))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tetrad_broadcaster",
        env=os.environ
        | {
            "TETRAD_RUN_DIR": str(folder),
            "TETRAD_COORDINATOR": coordinator.endpoint,
            "TETRAD_BIND": endpoint,
            "TETRAD_ALLOW_CLEAR_TCP": "1",
            "TETRAD_LOG_LEVEL": "error",
        },
    )
    try:
        yield endpoint
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), TIMEOUT_S)
        registry.cancel()
        coordinator.close()


def a_free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def register(coordinator: Listener, broadcaster: str) -> None:
    """Answer whoever registers."""
    while True:
        delivery = await coordinator.receive()
        if isinstance(delivery.message.body, Hello | Heartbeat):
            desired = Desired(generation=1, state=RunState.RUNNING, run=RUN, broadcaster=broadcaster)
            with contextlib.suppress(PeerGoneError):
                coordinator.send_nowait(delivery.peer, desired)


async def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Publish and fetch `rounds` versions, two more before them until both segments of each ring are there."""
    layout = a_decoder(arguments.gigabytes)
    source = np.random.default_rng(0).integers(0, 256, layout.num_bytes, dtype=np.uint8)
    rounds: list[dict[str, float]] = []
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tetrad-bench-")))
        transport = ZmqTransport(allow_clear_tcp=True)
        stack.callback(transport.close)
        bare = BareSender(source)
        stack.callback(bare.close)
        endpoint = await stack.enter_async_context(a_broadcaster(transport, folder))
        connection = transport.connect(endpoint, name="learner")
        algorithm = DigestAlgorithm(arguments.algorithm)
        publisher = Publisher(
            connection, run=RUN, incarnation=new_incarnation(), timeout_s=TIMEOUT_S, algorithm=algorithm
        )
        stack.callback(publisher.close)
        child = await stack.enter_async_context(an_engine(endpoint, bare.endpoint))
        for number in range(1, arguments.rounds + WARM_UP + 1):
            source[: 1 << 20] += 1
            rounds.append(await one_round(publisher, child, layout, source, PolicyVersion(number)))
            print(json.dumps(rounds[-1]), file=sys.stderr)
    return summary(rounds[WARM_UP:], layout.num_bytes)


@contextlib.asynccontextmanager
async def an_engine(endpoint: str, bare_endpoint: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `engine` in a process of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--engine",
        endpoint,
        bare_endpoint,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        assert child.stdin is not None
        child.stdin.close()
        await asyncio.wait_for(child.wait(), TIMEOUT_S)


async def one_round(
    publisher: Publisher, child: asyncio.subprocess.Process, layout: Layout, source: Bytes, version: PolicyVersion
) -> dict[str, float]:
    """Move one version all the way; seconds of each part."""

    def fill(buffer: Bytes) -> None:
        for tensor in layout.tensors:
            place = slice(tensor.offset, tensor.offset + tensor.num_bytes)
            np.copyto(buffer[place], source[place])

    assert child.stdin is not None
    assert child.stdout is not None
    started = time.perf_counter()
    published: Published = await publisher.publish(version=version, step=version, layout=layout, fill=fill)
    child.stdin.write(f"{version}\n".encode())
    fetched = json.loads(await child.stdout.readline())
    end_to_end_s = time.perf_counter() - started
    alone = json.loads(await child.stdout.readline())
    return {
        "end_to_end_s": end_to_end_s,
        "fill_s": published.fill_s,
        "digest_s": published.digest_s,
        "accept_s": published.accept_s,
        **fetched,
        **alone,
    }


def summary(rounds: list[dict[str, float]], num_bytes: int) -> dict[str, float]:
    """Medians over rounds; each ratio is taken within a round, so that a slow moment hits both sides."""
    middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    return {
        "size_gigabytes": num_bytes / 1e9,
        "memcpy_gigabytes_per_s": num_bytes / 1e9 / middle["memcpy_s"],
        "copy_gigabytes_per_s": num_bytes / 1e9 / middle["copy_s"],
        "copy_ratio_to_memcpy": statistics.median(one["memcpy_s"] / one["copy_s"] for one in rounds),
        "end_to_end_gigabytes_per_s": num_bytes / 1e9 / middle["end_to_end_s"],
        "end_to_end_ratio_to_memcpy": statistics.median(one["memcpy_s"] / one["end_to_end_s"] for one in rounds),
        "end_to_end_s": middle["end_to_end_s"],
        "learner_fill_s": middle["fill_s"],
        "learner_digest_s": middle["digest_s"],
        "broadcaster_clone_s": middle["accept_s"],
        "engine_fetch_s": middle["fetch_s"],
        "engine_fetch_copy_s": middle["fetch_copy_s"],
        "socket_gigabytes_per_s": num_bytes / 1e9 / middle["socket_s"],
        "bare_socket_gigabytes_per_s": num_bytes / 1e9 / middle["socket_bare_s"],
        "socket_ratio_to_pyzmq_blocking": statistics.median(one["socket_bare_s"] / one["socket_s"] for one in rounds),
    }


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--algorithm", default="xxh3_128", choices=[str(value) for value in DigestAlgorithm])
    parser.add_argument("--engine", nargs=2, metavar="ENDPOINT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    configure(service="benchmark", level="error")
    if arguments.engine:
        asyncio.run(engine(*arguments.engine))
        return
    metrics = asyncio.run(measure(arguments))
    name = "weight_sync" if arguments.algorithm == "xxh3_128" else f"weight_sync_{arguments.algorithm}"
    path = write_results(name, metrics, packages=("numpy", "xxhash", "pyzmq", "msgpack"))
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
