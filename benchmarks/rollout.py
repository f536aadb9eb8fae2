"""Tokens per second of the rollout service against the bare engine, in the same run and in turns.

256 prompts (about 64 tokens, no two alike) × 4 samples × 256 tokens at temperature 1, log-probs on both sides, the same
arguments of the engine on both sides, an engine each, started before anything is measured. The service is the process
of a run: leases come over ZeroMQ from a least coordinator in this process, each sample is graded by a real reward
service, sent and acknowledged; its time runs from the first lease to the last graded sample. The bare side is one
`sglang.Engine.generate` call of 1,024 requests (`n > 1` is slower). Both sides' tokens are counted. So that samples run
to their limit, SmolLM2 is served from a folder whose end of sequence is a token that it does not sample; a model of
random weights ends one sample in 600 early. The first turn of each side is a warm-up.

Parts: `smollm2` and `0.5b` are such pairs; `triton` and `flashinfer` are the service alone with another attention
backend than `--attention`; flashinfer compiles for a minute and a half at its first request, so it starts last, if
there is time. Results are written after each part; `--extend` keeps those of an earlier run.

    python benchmarks/rollout.py --smollm2 FOLDER [--parts smollm2 0.5b triton flashinfer] [--deadline 235]
    python benchmarks/rollout.py --backend transformers --smollm2 FOLDER --parts smollm2 --prompts 8 --tokens 16
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from accelerator import gpu_name
from engine_models import endless
from results_file import RESULTS, earlier_metrics, installed, write_results
from rollout_peers import BareEngine, a_config
from rollout_site import Site
from rollout_turn import Batch, Turn, in_turns, ratio_figures, side_figures

from tetrad_telemetry.logs import configure

NAME: Final = "rollout"
PACKAGES: Final = ("torch", "transformers", "sglang", "flashinfer-python")
PARTS: Final = ("smollm2", "0.5b", "triton", "flashinfer")
COMPILE_S: Final = 130.0
"""What flashinfer's start and first request take."""
Side = Site | BareEngine
CLOCK: Final = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One comparison, or the service alone."""

    label: str
    model: Path
    attention: str
    """Backend of SGLang; empty leaves the choice to the engine."""
    suffix: str = ""
    """Of the ratio's name."""
    has_peer: bool = False


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", type=Path, default=Path("/tmp/smollm2-135m"), help="folder of the real model")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()), help="where folders are made")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default all)")
    parser.add_argument("--backend", default="sglang", help="engine of the service (default %(default)s)")
    parser.add_argument("--attention", default="fa3", help="attention backend of the pairs (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side after the warm-up (default 3)")
    parser.add_argument("--prompts", type=int, default=256, help="prompts of a turn (default 256)")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a sample (default 256)")
    parser.add_argument("--start-timeout", type=float, default=170.0, help="seconds until engines are ready")
    parser.add_argument("--deadline", type=float, default=235.0, help="seconds of the whole run (default 235)")
    parser.add_argument("--extend", action="store_true", help="keep the figures of an earlier results file")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    configure(service="benchmark", level="error")
    # Asked to end, it ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    metrics = earlier_metrics(NAME, gpu_name(), folder=arguments.results) if arguments.extend else {}
    failures = asyncio.run(measure(arguments, metrics))
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr, flush=True)
    sys.exit(1 if failures else 0)


async def measure(arguments: argparse.Namespace, metrics: dict[str, float]) -> list[str]:
    """Run every part that there is time for; say what went wrong."""
    failures: list[str] = []
    import_transformers()
    with tempfile.TemporaryDirectory(prefix="tb-") as folder:
        parts = await prepared(arguments, failures)
        early = [part for part in parts if part.attention != "flashinfer"]
        await run(early, arguments, Path(folder), metrics, failures, timeout_s=arguments.start_timeout)
        late = [part for part in parts if part.attention == "flashinfer"]
        if late and left_s(arguments) < COMPILE_S:
            say(f"flashinfer is left out: {left_s(arguments):.0f} s are left; run it alone with --parts flashinfer")
        elif late:
            await run(late, arguments, Path(folder), metrics, failures, timeout_s=left_s(arguments))
    return failures


def import_transformers() -> None:
    """Once, before threads do: two that begin at different ends of it wait for each other for ever."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    say(f"imported {AutoModelForCausalLM.__name__} and {AutoTokenizer.__name__}")


async def prepared(arguments: argparse.Namespace, failures: list[str]) -> list[Part]:
    """The parts that were asked for and whose models are there."""
    smollm2 = endless(arguments.smollm2, arguments.models / "smollm2-endless")
    attention = arguments.attention if arguments.backend == "sglang" else ""
    parts = {
        "smollm2": Part(label="smollm2", model=smollm2, attention=attention, has_peer=True),
        "triton": Part(label="triton", model=smollm2, attention="triton"),
        "flashinfer": Part(label="flashinfer", model=smollm2, attention="flashinfer"),
    }
    if "0.5b" in arguments.parts:
        folder = arguments.models / "random-0.5b"
        program = Path(__file__).with_name("engine_models.py")
        process = await asyncio.create_subprocess_exec(sys.executable, program, "0.5b", arguments.smollm2, folder)
        if await process.wait() == 0:
            parts["0.5b"] = Part(label="0.5b", model=folder, attention=attention, suffix="_0.5b", has_peer=True)
        else:
            failures.append("0.5b: its model could not be made")
    return [parts[name] for name in arguments.parts if name in parts]


async def run(
    parts: Sequence[Part],
    arguments: argparse.Namespace,
    folder: Path,
    metrics: dict[str, float],
    failures: list[str],
    *,
    timeout_s: float,
) -> None:
    """Start all sides of the parts at once, then measure part by part: nothing starts while something is measured."""
    sides = {part.label: sides_of(part, arguments, folder) for part in parts}
    everyone = [side for pair in sides.values() for side in pair]
    starts = {side.name: asyncio.create_task(started(side, timeout_s=timeout_s)) for side in everyone}
    try:
        if starts:
            await asyncio.wait(starts.values())
        for part in parts:
            try:
                for side in sides[part.label]:
                    await starts[side.name]
                metrics |= figures(part, await turns(part, sides[part.label], arguments))
            except Exception as error:  # one part must not cost the others
                failures.append(f"{part.label}: {type(error).__name__}: {error}")
                continue
            write(metrics, arguments)
    finally:
        for start in starts.values():
            start.cancel()
        await asyncio.gather(*(side.close() for side in everyone), return_exceptions=True)


async def started(side: Side, *, timeout_s: float) -> None:
    """Start it and say how that went."""
    try:
        await side.start(timeout_s=timeout_s)
    except Exception as error:
        say(f"{side.name} did not start: {type(error).__name__}: {error}")
        raise
    say(f"{side.name} is ready")


def sides_of(part: Part, arguments: argparse.Namespace, folder: Path) -> list[Side]:
    """The service, and the bare engine where they are compared."""
    config = a_config(
        part.model,
        backend=arguments.backend,
        attention=part.attention,
        folder=folder,
        max_samples=4 * arguments.prompts,
        num_tokens=arguments.tokens,
    )
    service = Site(f"{part.label}-service", config, folder / part.label)
    return [service, BareEngine(f"{part.label}-bare", config, folder / part.label)] if part.has_peer else [service]


async def turns(part: Part, sides: Sequence[Side], arguments: argparse.Namespace) -> list[list[Turn]]:
    """The turns of each side, the warm-up left out; fewer where the deadline is near."""
    batch = Batch(num_prompts=arguments.prompts, num_tokens=arguments.tokens)

    async def play(side: Side, number: int) -> Turn:
        turn = await side.play(batch, batch.messages(number), timeout_s=max(30.0, left_s(arguments)))
        say(f"{side.name} turn {number}: {turn.tokens_per_second:,.0f} tokens/s {turn.fields()}")
        return turn

    players = [partial(play, side) for side in sides]
    found = await in_turns(players, num_rounds=arguments.rounds, left_s=lambda: left_s(arguments))
    if missing := arguments.rounds - len(found[0]):
        say(f"{part.label}: {missing} turns are left out, the deadline is near")
    return found


def figures(part: Part, found: Sequence[Sequence[Turn]]) -> dict[str, float]:
    """What the turns say."""
    service, *bare = found
    metrics = side_figures("service", part.label, service)
    if part.attention:
        metrics[f"tokens_per_second_{part.attention}"] = metrics[f"service_tokens_per_second_{part.label}"]
    if part.suffix:
        metrics.pop(f"tokens_per_second_{part.attention}", None)
    for theirs in bare:
        metrics |= side_figures("bare", part.label, theirs) | ratio_figures(part.suffix, service, theirs)
    return metrics


def write(metrics: Mapping[str, float], arguments: argparse.Namespace) -> None:
    """Write the results so far."""
    versions = installed(PACKAGES)
    sizes = {"batch_samples": 4 * arguments.prompts, "sample_limit_tokens": arguments.tokens}
    path = write_results(
        NAME, {**metrics, **sizes}, other_versions=versions, accelerator=gpu_name(), folder=arguments.results
    )
    say(path.read_text(encoding="utf-8"))


def left_s(arguments: argparse.Namespace) -> float:
    """Seconds until the deadline."""
    left: float = arguments.deadline - (time.monotonic() - CLOCK)
    return left


def say(text: str) -> None:
    """Progress, with the time since the start."""
    print(f"{time.monotonic() - CLOCK:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    main()
