"""What a second GPU brings: more engines, engines over two GPUs, more ranks, learner and engines apart.

Parts, each by itself and in the order given, under one deadline:

* `engines`: tokens a second of one rollout service, then of two side by side, each on a GPU of its own and each with
  the same batch (as in `rollout.py`: over ZeroMQ, graded); the ratio is of all tokens in the time of the slower one.
* `tp2`: one service whose engine is split over two GPUs, with the same batch, against one on one GPU; random weights of
  the 0.5B shape, whose attention heads can be split.
* `learner`: one training step on two ranks against one (`learner_ranks.py`).
* `split`: `tetrad train` in the tutorial's shape for three steps, learner on the first GPU and engine on the second,
  batches overlapping by one step (`gsm8k_loop.py --shape tutorial`).
* `colocated`: the same with two ranks and two engines that take turns on both GPUs.
* `colocated_tp2`: the same with one engine that is split over both.
* `scale`: `tetrad train` with one engine, to which `tetrad scale` adds others in mid-run: tokens a second of the whole
  loop before and after (on three GPUs and more: the learner has one to itself).

Results are written after each part; `--extend` keeps those of an earlier run. What does not fit before the deadline is
left out and named. `--tiny` makes everything small enough for a machine without GPUs: it shows that the program runs,
and says nothing about scaling, since all of it shares the cores.

    python benchmarks/scaling.py --data ~/data/gsm8k --smollm2 FOLDER [--parts engines tp2 …] [--deadline 560]
    python benchmarks/scaling.py --tiny --smollm2 FOLDER --data FOLDER --parts engines learner split colocated
    python benchmarks/scaling.py --tiny --parts scale
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from accelerator import gpu_name, num_gpus
from results_file import RESULTS, earlier_metrics, installed, write_results
from scaling_engines import measure_engines, measure_split_engine
from scaling_live import measure_scale
from scaling_runs import measure_learner, measure_loop
from scaling_setting import Clock, Setting

from tetrad_telemetry.logs import configure

NAME: Final = "scaling"
PACKAGES: Final = ("torch", "transformers", "sglang")
PARTS: Final = {
    "engines": measure_engines,
    "tp2": measure_split_engine,
    "learner": measure_learner,
    "split": measure_loop,
    "colocated": measure_loop,
    "colocated_tp2": measure_loop,
    "scale": measure_scale,
}
NEEDED_GPUS: Final = 2
LEAST_S: Final = 30.0
"""No part is done in less."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default all)")
    parser.add_argument("--data", type=Path, help="GSM8K, for split and colocated: see gsm8k_loop.py")
    parser.add_argument("--smollm2", type=Path, default=Path("/tmp/smollm2-135m"), help="folder of the real model")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()), help="where folders are made")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side after the warm-up (default 3)")
    parser.add_argument("--tiny", action="store_true", help="small sizes and engines of transformers, without a GPU")
    parser.add_argument("--deadline", type=float, default=560.0, help="seconds of the whole run (default 560)")
    parser.add_argument("--extend", action="store_true", help="keep the figures of an earlier results file")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    if not arguments.tiny and num_gpus() < NEEDED_GPUS:
        parser.error(f"needs {NEEDED_GPUS} GPUs; {num_gpus()} are visible here; --tiny runs without")
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
    clock = Clock(deadline_s=arguments.deadline)
    with tempfile.TemporaryDirectory(prefix="tb-") as temporary:
        for part in arguments.parts:
            if clock.left_s < LEAST_S:
                failures.append(f"{part} is left out: {clock.left_s:.0f} s are left; run it alone with --parts {part}")
                continue
            setting = Setting.of(arguments, part=part, folder=Path(temporary) / part, clock=clock)
            clock.say(f"{part} begins, {clock.left_s:.0f} s are left")
            try:
                async with asyncio.timeout(clock.left_s):
                    found = await PARTS[part](setting, metrics)
            except Exception as error:  # one part must not cost the others
                failures.append(f"{part}: {type(error).__name__}: {error}")
                clock.say(f"{part} failed: {type(error).__name__}")
                continue
            metrics |= found
            write(metrics, arguments)
            for name, value in found.items():
                clock.say(f"{name} = {value:.4g}")
    return failures


def write(metrics: Mapping[str, float], arguments: argparse.Namespace) -> None:
    """Write the results so far."""
    versions = installed(PACKAGES)
    write_results(NAME, metrics, other_versions=versions, accelerator=gpu_name(), folder=arguments.results)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
