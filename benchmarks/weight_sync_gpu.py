"""Weight sync on one GPU or two: learner, broadcaster and SGLang engine as three processes.

On one GPU weights go by CUDA IPC; with `--over nccl` learner and broadcaster are on the first GPU and the engine is on
the second, and they go by NCCL, out of the broadcaster's copy. `first_seconds` is then the update that makes the group.

The learner is one rank of the real trainer (FSDP2, float32 master weights), whose tensors change by 2 % before each of
20 updates; the broadcaster is the service; the engine is the real one, which fetches, stages, commits and probes as a
rollout replica does. This process stands for the coordinator: it passes the word on. Shapes of Qwen2.5, bfloat16.

`end_to_end` runs from the start of the gather to the proven engine, in these parts: `gather` (the rank's whole weights
in one buffer), `digest` of it, `share` (until the broadcaster has accepted), `order` (the word to the engine), `pull`
(the offer), `receive` (the collectives), `stage` (the engine's copy and its digest), `pause`. `pause` is the time
without generation: `stop` (until the server is idle), `load`, `flush`, `probe` (a forward, and the digest of what the
server holds), `resume`. `floor` is what three copies of the bytes take at the device's measured bandwidth: gather,
stage and load need one each. p99 of 20 is the slowest. `in_flight` is the same with 64 samples running.
`logprob_difference` compares engine and learner on a fixed prompt: mean over its tokens, before any update and after
each.

    python benchmarks/weight_sync_gpu.py [--shapes 0.5b 1.5b] [--updates 20] [--smollm2 FOLDER] [--deadline 400]
    python benchmarks/weight_sync_gpu.py --over nccl                                                      # two GPUs
    python benchmarks/weight_sync_gpu.py --backend transformers --shapes 16m --updates 3 --in-flight 4    # no GPU

Without a GPU `--over nccl` is over gloo, with the same processes.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from accelerator import gpu_name
from learner_setting import SHAPES
from order_lines import Child, Order
from results_file import RESULTS, earlier_metrics, installed, write_results
from rollout_peers import a_config
from weight_sync import a_broadcaster

from tetrad_config import dump_resolved
from tetrad_telemetry.logs import configure
from tetrad_transport import ZmqTransport

FOLDER: Final = Path(__file__).parent
PACKAGES: Final = ("torch", "transformers", "sglang")
PARTS: Final = (
    *("end_to_end", "gather", "digest", "share", "order", "pull", "receive", "stage"),
    *("pause", "stop", "load", "flush", "probe", "resume"),
)
NUM_COPIES: Final = 3
WARM_UP: Final = 2
IN_FLIGHT_UPDATES: Final = 8
IN_FLIGHT_TOKENS: Final = 2048
DECODING_S: Final = 0.2
PROMPT_TOKENS: Final = 256
ORDER_S: Final = 60.0
FIRST_S: Final = 240.0
"""Of the first update: processes start for it, each of which loads torch and may take a minute."""
CLOCK: Final = time.monotonic()


class Pair:
    """A learner and an engine, and the broadcaster between them."""

    def __init__(self, rank: Child, engine: Child, shape: str) -> None:
        self._rank, self._engine, self.shape = rank, engine, shape
        self._version = 0

    async def update(self) -> dict[str, float]:
        """Change the weights and bring them to the engine; seconds of each part."""
        self._version += 1
        limit_s = FIRST_S if self._version == 1 else ORDER_S
        await self._rank.ask({"order": "change", "seed": self._version}, timeout_s=ORDER_S)
        published = await self._rank.ask({"order": "publish", "version": self._version}, timeout_s=limit_s)
        synced = await self._engine.ask({"order": "sync", "version": self._version}, timeout_s=limit_s)
        return joined(published, synced)

    async def difference(self) -> float | None:
        """Mean |Δ log-prob| between engine and learner on the fixed prompt; None where the engine cannot tell."""
        vocabulary = SHAPES[self.shape].vocabulary
        ids = np.random.default_rng(0).integers(3, vocabulary, PROMPT_TOKENS).tolist()
        ours, theirs = [
            np.array((await child.ask({"order": "score", "ids": ids}, timeout_s=ORDER_S))["logprobs"])
            for child in (self._rank, self._engine)
        ]
        return float(np.abs(ours - theirs).mean()) if theirs.size else None

    async def copy_s(self) -> float:
        """Of one copy of the bytes on the device."""
        return float((await self._rank.ask({"order": "copy"}, timeout_s=ORDER_S))["copy"])

    async def held_s(self) -> float:
        """Of digesting what the engine computes with."""
        return float((await self._engine.ask({"order": "held"}, timeout_s=ORDER_S))["held"])

    async def load(self, num_samples: int) -> None:
        """Have so many samples run in the engine."""
        order = {"order": "load", "num_samples": num_samples, "num_tokens": IN_FLIGHT_TOKENS}
        say(f"{self.shape}: running {await self._engine.ask(order, timeout_s=ORDER_S)}")

    async def unload(self) -> None:
        """End them."""
        say(f"{self.shape}: {await self._engine.ask({'order': 'unload'}, timeout_s=ORDER_S)}")


def joined(published: Order, synced: Order) -> dict[str, float]:
    """One update's seconds; both processes read one clock.

    >>> published = {"began": 1.0, "ended": 1.5, "gather": 0.25, "digest": 0.125, "share": 0.125, "num_bytes": 8}
    >>> joined(published, {"began": 1.625, "ended": 2.0, "pause": 0.25, "transport": "cuda_ipc"})["order"]
    0.125
    """
    found = {part: float(answer[part]) for answer in (published, synced) for part in PARTS if part in answer}
    return found | {
        "order": synced["began"] - published["ended"],
        "end_to_end": synced["ended"] - published["began"],
        "num_bytes": float(published["num_bytes"]),
        "is_cuda_ipc": float(synced["transport"] == "cuda_ipc"),
        "is_nccl": float(synced["transport"] == "nccl"),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["0.5b", "1.5b"], help="models")
    parser.add_argument("--updates", type=int, default=20, help="updates that count, of each shape (default 20)")
    parser.add_argument("--in-flight", type=int, default=64, help="samples that run meanwhile (default 64); 0 is none")
    parser.add_argument("--over", choices=("memory", "nccl"), default="memory", help="one GPU's memory, or NCCL")
    parser.add_argument("--backend", default="sglang", help="engine (default %(default)s)")
    parser.add_argument("--attention", default="", help="SGLang's attention backend (default: the engine's choice)")
    parser.add_argument("--smollm2", type=Path, default=Path("/tmp/smollm2-135m"), help="folder of a tokenizer")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()), help="where folders are made")
    parser.add_argument("--start-timeout", type=float, default=240.0, help="seconds until all are ready")
    parser.add_argument("--deadline", type=float, default=400.0, help="seconds of the whole run (default 400)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    configure(service="benchmark", level="error")
    # Asked to end, it ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Other shapes' figures stay, and those of two GPUs.
    metrics = earlier_metrics("weight_sync", gpu_name(), folder=arguments.results) if gpu_name() else {}
    failures = asyncio.run(measure(arguments, metrics))
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr, flush=True)
    sys.exit(1 if failures else 0)


async def measure(arguments: argparse.Namespace, metrics: dict[str, float]) -> list[str]:
    """Start everything, then measure shape by shape; say what went wrong."""
    failures: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tb-")))
        starts = {shape: asyncio.create_task(started(shape, arguments, folder, stack)) for shape in arguments.shapes}
        await asyncio.wait(starts.values())
        for shape, start in starts.items():
            try:
                async for name, value in figures(await start, arguments):
                    metrics[name] = value
                    say(f"{name} = {value:.4g}")
            except Exception as error:  # one shape must not cost the other
                failures.append(f"{shape}: {said(error)}")
            if metrics:
                write(metrics, arguments)
    return failures


async def started(shape: str, arguments: argparse.Namespace, folder: Path, stack: contextlib.AsyncExitStack) -> Pair:
    """The three processes of a shape, ready."""
    here = folder / shape
    here.mkdir(mode=0o700)  # sockets are made in it
    model = arguments.models / f"random-{shape}"
    maker = await asyncio.create_subprocess_exec(
        sys.executable, FOLDER / "engine_models.py", shape, arguments.smollm2, model
    )
    if await maker.wait():
        raise RuntimeError(f"the model of shape {shape} could not be made")
    transport = ZmqTransport(allow_clear_tcp=True)
    stack.callback(transport.close)
    broadcaster = await stack.enter_async_context(a_broadcaster(transport, here))
    config = a_config(
        model,
        backend=arguments.backend,
        attention=arguments.attention,
        folder=here,
        max_samples=max(1, arguments.in_flight),
        num_tokens=IN_FLIGHT_TOKENS,
    )
    (here / "engine.yaml").write_text(dump_resolved(config), encoding="utf-8")
    over = arguments.over
    rank = Child(f"{shape}-rank", [FOLDER / "weight_sync_rank.py", model, broadcaster, over], log=here / "rank.log")
    engine = Child(
        f"{shape}-engine",
        [FOLDER / "weight_sync_engine.py", here / "engine.yaml", broadcaster, over],
        log=here / "engine.log",
    )
    for child in (rank, engine):
        stack.push_async_callback(child.close)
    limit_s = arguments.start_timeout
    async with asyncio.TaskGroup() as starting:
        starting.create_task(rank.start(timeout_s=limit_s, environment=torchrun()))
        starting.create_task(engine.start(timeout_s=limit_s, environment=beside(over)))
    say(f"{shape}: ready")
    return Pair(rank, engine, shape)


async def figures(pair: Pair, arguments: argparse.Namespace) -> AsyncIterator[tuple[str, float]]:
    """Yield what is found of one shape."""
    prefix = prefix_of(arguments.over, pair.shape, is_on_gpu=bool(gpu_name()))
    before = await pair.difference()
    if before is not None:
        yield f"{prefix}_logprob_difference_before_nats", before
    updates, after, held = [], [], []
    for number in range(WARM_UP + arguments.updates):
        if number > WARM_UP and left_s(arguments) < 5.0:
            say(f"{pair.shape}: ended after {len(updates)} updates, the deadline is near")
            break
        update = await pair.update()
        say(f"{pair.shape} {number}: {json.dumps({part: round(seconds, 4) for part, seconds in update.items()})}")
        difference = await pair.difference()
        if difference is not None:
            after.append(difference)
        if number == 0 and arguments.over == "nccl":
            yield f"{prefix}_first_seconds", update["end_to_end"]
        if number >= WARM_UP:
            updates.append(update)
            held.append(await pair.held_s())
    for name, value in summary(updates).items():
        yield f"{prefix}_{name}", value
    yield f"{prefix}_held_digest_p50_seconds", statistics.median(held)
    if after:
        yield f"{prefix}_logprob_difference_after_p50_nats", statistics.median(after)
        yield f"{prefix}_logprob_difference_after_most_nats", max(after)
    copy_s = await pair.copy_s()
    yield f"{prefix}_copy_gigabytes_per_s", updates[0]["num_bytes"] / copy_s / 1e9
    yield f"{prefix}_floor_seconds", NUM_COPIES * copy_s
    if arguments.in_flight and left_s(arguments) > 5.0:
        for name, value in (await in_flight(pair, arguments)).items():
            yield f"{prefix}_in_flight_{name}", value


async def in_flight(pair: Pair, arguments: argparse.Namespace) -> dict[str, float]:
    """Updates while samples run."""
    await pair.load(arguments.in_flight)
    updates = []
    for _ in range(IN_FLIGHT_UPDATES):
        # Long enough that they have sampled something with the weights before.
        await asyncio.sleep(DECODING_S)
        updates.append(await pair.update())
    await pair.unload()
    return {name: value for name, value in summary(updates).items() if name.startswith(("end_to_end", "pause", "stop"))}


def summary(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians and slowest of the parts, and how much came by CUDA IPC and NCCL.

    >>> found = summary([{"pause": 2.0, "num_bytes": 8e9, "is_cuda_ipc": 1.0}] * 3)
    >>> found["pause_p50_seconds"], found["pause_p99_seconds"], found["size_gigabytes"]
    (2.0, 2.0, 8.0)
    """
    metrics = {}
    for part in PARTS:
        seconds = sorted(update[part] for update in updates if part in update)
        if seconds:
            metrics[f"{part}_p50_seconds"] = statistics.median(seconds)
            metrics[f"{part}_p99_seconds"] = seconds[math.ceil(0.99 * len(seconds)) - 1]
    metrics["updates_count"] = len(updates)
    metrics["size_gigabytes"] = updates[0]["num_bytes"] / 1e9
    for way in ("cuda_ipc", "nccl"):
        metrics[f"by_{way}_share"] = statistics.mean(update.get(f"is_{way}", 0.0) for update in updates)
    return metrics


def said(error: BaseException) -> str:
    """An error in words, those of a group one by one."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(said, error.exceptions))
    return f"{type(error).__name__}: {error}"


def prefix_of(over: str, shape: str, *, is_on_gpu: bool) -> str:
    """What the figures begin with.

    >>> prefix_of("nccl", "0.5b", is_on_gpu=True), prefix_of("nccl", "16m", is_on_gpu=False)
    ('nccl_0.5b', 'gloo_16m')
    """
    if over == "nccl":
        return f"nccl_{shape}" if is_on_gpu else f"gloo_{shape}"
    return f"same_gpu_{shape}" if is_on_gpu else f"host_{shape}"


def beside(over: str) -> dict[str, str]:
    """What an engine is told that is on another GPU than the learner: the second that is visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")
    if over != "nccl" or not gpu_name():
        return dict(os.environ)
    if len(visible) < 2:
        raise ValueError(f"--over nccl needs 2 GPUs; CUDA_VISIBLE_DEVICES is {','.join(visible)}")
    return {**os.environ, "CUDA_VISIBLE_DEVICES": visible[1]}


def torchrun() -> dict[str, str]:
    """What torchrun tells the only rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {**os.environ, **ours}


def write(metrics: Mapping[str, float], arguments: argparse.Namespace) -> None:
    """Write the results so far; what a machine without a GPU finds is no figure of `weight_sync.py`."""
    versions = installed(PACKAGES)
    name = "weight_sync" if gpu_name() else "weight_sync_gpu"
    write_results(name, metrics, other_versions=versions, accelerator=gpu_name(), folder=arguments.results)


def left_s(arguments: argparse.Namespace) -> float:
    """Seconds until the deadline."""
    left: float = arguments.deadline - (time.monotonic() - CLOCK)
    return left


def say(text: str) -> None:
    """Progress, with the time since the start."""
    print(f"{time.monotonic() - CLOCK:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    main()
