"""What hostile responses cost the good ones: grades per second with one hostile response in a hundred, against none.

Two workers, math and code. Alone and beside take many short turns, so that a busy machine troubles both alike; every
kind of hostile response has its turn, and the sums are compared. Part of `rewards`.

What these figures do not show: a response that takes all the time there is. Programs have one second of CPU time for
a test here, not the default of four; and `(x+y+z)^{999}`, which ends only with the deadline of `math` (10 s) and its
worker, is not among them. Such a one holds one of the two workers for as long, and good grades come at half the speed
meanwhile. `docs/how-to/choose-a-grader.md` says what to do.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, islice
from typing import Final

from tetrad_reward.requests import Loaded, Opening
from tetrad_reward.supply import WorkerLimits
from tetrad_reward.workers import Workers

ONE_IN: Final = 100
WORKERS: Final = 2
WINDOW: Final = 64
CONFIGS: Final[Mapping[str, dict[str, object]]] = {"math": {}, "code": {"test_timeout": 1.0}}
TRUTHS: Final = {"math": "1/2", "code": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]})}
GOOD: Final[Mapping[str, Callable[[int], str]]] = {
    # No two are one text: whoever remembers what he has parsed gains nothing.
    "math": lambda i: rf"so it is \boxed{{\frac{{{i + 1}}}{{{2 * i + 2}}}}}",
    "code": lambda i: f"print(sum(map(int, input().split())) + {i} - {i})",
}
HOSTILE: Final[Mapping[str, Sequence[str]]] = {
    "math": (
        r"\boxed{" + "(" * 500 + "1" + ")" * 500 + "}",
        r"\boxed{9^{9^{9^9}}}",
        r"\boxed{10^{999999}}",
        "9" * 900_000,
        r"\boxed{" * 100_000,
        "x" * 900_000,
    ),
    "code": (
        "import os\nwhile True: os.fork()",
        "while True: pass",
        "x = 'a' * (10 << 30)",
        "eval('(' * 100_000 + ')' * 100_000)",
        "while True: print('x' * 1000)",
        "print(9 ** 9 ** 9)",
    ),
}


async def measure(grades: Mapping[str, int], rounds: int) -> dict[str, float]:
    """Return the good grades per second alone and beside hostile ones, and what share of them is lost."""
    metrics: dict[str, float] = {}
    async with Workers(num_workers=WORKERS, limits=WorkerLimits()) as workers:
        for grader, number in grades.items():
            loaded = await workers.load(grader, reference=grader, config=CONFIGS[grader])
            assert isinstance(loaded, Loaded), loaded
            await good_seconds(workers, grader, ONE_IN, hostile=())
            size = number // rounds
            kinds = cycle(HOSTILE[grader])
            turns = [await a_turn(workers, grader, size, islice(kinds, size // ONE_IN)) for _ in range(rounds)]
            alone, beside = (sum(seconds) for seconds in zip(*turns, strict=True))
            metrics[f"{grader}_good_grades_per_s"] = size * rounds / alone
            metrics[f"{grader}_beside_hostile_good_grades_per_s"] = size * rounds / beside
            metrics[f"{grader}_beside_hostile_good_grades_ratio_to_alone"] = alone / beside
    return metrics


async def a_turn(workers: Workers, grader: str, number: int, hostile: Iterable[str]) -> tuple[float, float]:
    """Seconds alone and beside the hostile ones, one after the other."""
    alone = await good_seconds(workers, grader, number, hostile=())
    return alone, await good_seconds(workers, grader, number, hostile=tuple(hostile))


async def good_seconds(workers: Workers, grader: str, number: int, *, hostile: Sequence[str]) -> float:
    """Grade `number` good responses with the hostile ones among them, evenly spread; return how long it takes."""
    opening = Opening(grader=grader, messages=(), extras={"reward_spec": {"ground_truth": TRUTHS[grader]}})
    window = asyncio.Semaphore(WINDOW)

    async def grade(response: str, *, is_good: bool) -> None:
        async with window:
            reply = await workers.grade(opening, response)
        is_paid = getattr(reply, "reward", None) == 1.0
        assert is_paid is is_good, (response[:80], reply)

    responses = [(GOOD[grader](i), True) for i in range(number)]
    for place, response in enumerate(hostile):
        responses.insert(place * (ONE_IN + 1), (response, False))
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for response, is_good in responses:
            tasks.create_task(grade(response, is_good=is_good))
    return time.perf_counter() - started
