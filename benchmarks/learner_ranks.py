"""The learner on several ranks against one: tokens a second of the same training step.

Each number of ranks is started once, by torchrun, on a GPU each, and measures all shapes. A step is the same for all:
so many rows of packed samples (see `learner.py`), divided among the ranks; weights, gradients and moments are sharded
over them by FSDP2, over NCCL. Figures of the first shape are named by the number of ranks alone, those of the others by
their shape too.

On CPUs: a model of 16M parameters over gloo, padded rows, a thread a rank. It shows that the program runs; ranks that
share cores say nothing about ranks.

    python benchmarks/learner_ranks.py [--accelerator "NVIDIA H200"] [--ranks 2] [--shapes 1.5b 0.5b] [--compile]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from learner_setting import SHAPES, Setting, make_model
from results_file import RESULTS, ROOT, write_results

PROGRAM: Final = Path(__file__).with_name("learner_ranks_program.py")
MODELS: Final = ROOT / "outputs" / "models"
TIMEOUT_S: Final = 300.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", default="", help="name of the GPUs; measures on them (default: the CPU)")
    parser.add_argument("--ranks", type=int, default=2, help="ranks that are held against one (default 2)")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="models (default 1.5b 0.5b; 16m on a CPU)")
    parser.add_argument("--row-tokens", type=int, default=4096, help="tokens of a row (default 4096; 1024 on a CPU)")
    parser.add_argument("--rows", type=int, default=16, help="rows of a step, over all ranks (default 16; 2 on a CPU)")
    parser.add_argument("--compile", action="store_true", help="compile the layers; takes a minute longer")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    metrics = dict(measurements(list(settings(arguments)), arguments.ranks))
    for name, value in metrics.items():
        print(f"{name} = {value:.4g}", flush=True)
    write_results(
        "learner_ranks",
        metrics,
        other_versions={name: version(name) for name in ("torch", "transformers")} | {"os": platform.system()},
        accelerator=arguments.accelerator,
        folder=arguments.results,
    )


def settings(arguments: argparse.Namespace) -> Iterator[Setting]:
    """Yield one for each shape; their models are made here, so that no rank waits for them."""
    is_gpu = bool(arguments.accelerator)
    for shape in arguments.shapes or (("1.5b", "0.5b") if is_gpu else ("16m",)):
        yield Setting(
            shape=shape,
            model=str(make_model(shape, MODELS / f"random-{shape}")),
            row_tokens=arguments.row_tokens if is_gpu else min(arguments.row_tokens, 1024),
            rows=arguments.rows if is_gpu else min(arguments.rows, 2),
            prompt_tokens=128 if is_gpu else 32,
            mean_response_tokens=384 if is_gpu else 96,
            num_steps=4,
            num_warm_up_steps=1,
            device="cuda" if is_gpu else "cpu",
            num_threads=1,
            use_torch_compile=arguments.compile,
        )


def measurements(chosen: Sequence[Setting], num_ranks: int) -> Iterator[tuple[str, float]]:
    """Yield tokens a second of one rank and of so many, and their ratio, for each shape."""
    alone, together = run(chosen, 1), run(chosen, num_ranks)
    for index, (setting, one_s, many_s) in enumerate(zip(chosen, alone, together, strict=True)):
        shape = "" if index == 0 else f"{setting.shape}_"
        yield f"tokens_per_second_{shape}1_rank", setting.num_tokens / one_s
        yield f"tokens_per_second_{shape}{num_ranks}_ranks", setting.num_tokens / many_s
        yield f"ratio_{shape}{num_ranks}_ranks", one_s / many_s


def run(chosen: Sequence[Setting], num_ranks: int) -> list[float]:
    """Seconds of a step for each setting: the median of those that count."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_ranks}"]
    done = subprocess.run(
        [*launcher, str(PROGRAM), *(setting.text() for setting in chosen)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr, flush=True)
        done.check_returncode()
    seconds: list[list[float]] = json.loads(done.stdout.splitlines()[-1])["step_s"]
    return [statistics.median(of_setting) for of_setting in seconds]


if __name__ == "__main__":
    main()
