"""Grades per second of one reward replica's workers, against calling the grader in a plain loop in the same run.

The same worker processes as in the service, killable and limited, asked through their pipes; sockets are not part of
it. Loop and workers take turns; medians over rounds. One worker shows what a round trip through a pipe costs, two that
graders run side by side. `alone` is one grade at a time.

Then math and code with one hostile response in a hundred (`rewards_hostile.py`): needs math-verify and bubblewrap.

    python benchmarks/rewards.py [--grades 5000] [--rounds 5] [--workers 1 2] [--hostile 3000 600]
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import rewards_hostile
from results_file import RESULTS, write_results

from tetrad_reward.registry import load_grader
from tetrad_reward.requests import Loaded, Opening, Stepped
from tetrad_reward.supply import WorkerLimits
from tetrad_reward.workers import Workers
from tetrad_telemetry.logs import configure
from tetrad_wire.messages.leases import ChatMessage

GRADER: Final = "gsm8k"
CONFIG: Final = {"mode": "flexible"}
HOSTILE_TURNS: Final = 6
WINDOW: Final = 256
"""Grades under way at once, as in `tetrad grade`."""
QUESTION: Final = ChatMessage("user", "Tom has 6 apples and gets 7 more. How many apples does Tom have now?")
REASONING: Final = "He has 6 at first. Then he gets 7 more, which makes 6 + 7 = <<6+7=13>>13 apples in all. " * 4


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grades", type=int, default=5000, help="grades of a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="worker processes of a replica")
    parser.add_argument("--hostile", type=int, nargs=2, default=[3000, 600], help="good grades of math and of code")
    parser.add_argument("--only-hostile", action="store_true", help="leave out the plain loop")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    configure(service="benchmark", level="error")
    metrics: dict[str, float] = {}
    if not arguments.only_hostile:
        metrics |= asyncio.run(measure(arguments.grades, arguments.rounds, arguments.workers))
    math, code = arguments.hostile
    metrics |= asyncio.run(rewards_hostile.measure({"math": math, "code": code}, HOSTILE_TURNS))
    path = write_results(
        "rewards-hostile" if arguments.only_hostile else "rewards",
        metrics,
        packages=("tetrad-reward", "msgspec", "math-verify"),
        folder=arguments.results,
    )
    print(path.read_text(encoding="utf-8"))


async def measure(grades: int, rounds: int, counts: Sequence[int]) -> dict[str, float]:
    """Let the plain loop and replicas with so many workers take turns."""
    answers = [f"{REASONING}\n#### {number}" for number in range(grades)]
    async with AsyncExitStack() as stack:
        replicas = {count: await stack.enter_async_context(a_replica(count)) for count in counts}
        for workers in replicas.values():
            await warm_up(workers)
        plain: list[float] = []
        pooled: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(rounds):
            plain.append(in_a_loop(answers))
            for count, workers in replicas.items():
                pooled[count].append(await through(workers, answers))
        alone_s = await one_by_one(replicas[counts[0]], answers[: min(1000, grades)])
    metrics = {"plain_loop_grades_per_s": grades / statistics.median(plain)}
    for count, seconds in pooled.items():
        metrics[f"workers_{count}_grades_per_s"] = grades / statistics.median(seconds)
        metrics[f"workers_{count}_grades_per_s_ratio_to_plain_loop"] = statistics.median(
            loop / pool for loop, pool in zip(plain, seconds, strict=True)
        )
    cuts = statistics.quantiles(alone_s, n=100)
    return metrics | {"alone_p50_us": cuts[49] * 1e6, "alone_p99_us": cuts[98] * 1e6}


def a_replica(num_workers: int) -> Workers:
    """The workers of one replica, with the service's limits."""
    return Workers(num_workers=num_workers, limits=WorkerLimits())


async def warm_up(workers: Workers) -> None:
    """Have the grader loaded and every worker started."""
    loaded = await workers.load(GRADER, reference=GRADER, config=CONFIG)
    assert isinstance(loaded, Loaded), loaded
    async with asyncio.timeout(60):
        while workers.statistics().starting:
            await through(workers, [REASONING] * WINDOW)
    await through(workers, [REASONING] * WINDOW)


def in_a_loop(answers: Sequence[str]) -> float:
    """Seconds of all grades by a plain loop in this process."""
    make = load_grader(GRADER, CONFIG).make
    opening = an_opening()
    started = time.perf_counter()
    for answer in answers:
        environment = make(opening.extras)
        environment.init(list(opening.messages))  # type: ignore[attr-defined]  # any environment has it
        environment.step(answer)  # type: ignore[attr-defined]
    return time.perf_counter() - started


async def through(workers: Workers, answers: Sequence[str]) -> float:
    """Seconds of all grades by the workers, a window of them at a time."""
    opening, window = an_opening(), asyncio.Semaphore(WINDOW)

    async def grade(answer: str) -> None:
        async with window:
            reply = await workers.grade(opening, answer)
        assert isinstance(reply, Stepped), reply

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for answer in answers:
            tasks.create_task(grade(answer))
    return time.perf_counter() - started


async def one_by_one(workers: Workers, answers: Sequence[str]) -> list[float]:
    """Seconds of each grade when nothing else is under way."""
    opening = an_opening()
    seconds = []
    for answer in answers:
        started = time.perf_counter()
        await workers.grade(opening, answer)
        seconds.append(time.perf_counter() - started)
    return seconds


def an_opening() -> Opening:
    """One problem."""
    extras: dict[str, object] = {"reward_spec": {"method": "rule", "ground_truth": "13"}, "max_turns": 1}
    return Opening(grader=GRADER, messages=(QUESTION,), extras=extras)


if __name__ == "__main__":
    main()
