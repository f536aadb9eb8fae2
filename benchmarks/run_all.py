"""Run the benchmarks one after the other, each under a time limit, then make the table anew.

One that fails or takes too long is named at the end, and the others run all the same. On a machine that does something
else meanwhile the figures mean little.

    python benchmarks/run_all.py [--only wire coordinator …]
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accelerator import gpu_name, num_gpus

FOLDER: Final = Path(__file__).parent
# Between asking a benchmark to end and killing it with everything that it has started.
GRACE_S: Final = 30.0
GSM8K: Final = str(Path.home() / "data" / "gsm8k")
"""Where `tetrad data gsm8k` puts it unless told otherwise."""
GPU: Final = "{gpu}"
"""Stands for the name of this machine's first GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One command."""

    name: str
    """As in the name of its results file."""
    arguments: tuple[str, ...]
    """Program in this folder, and its options."""
    timeout_s: float = 900.0
    needs_gpu: bool = False
    """Whether it is left out on a machine without."""
    min_gpus: int = 0
    """With fewer GPUs it is left out."""


BENCHMARKS: Final = (
    Benchmark(name="wire", arguments=("wire.py",)),
    Benchmark(name="weight_sync", arguments=("weight_sync.py",)),
    Benchmark(name="coordinator", arguments=("coordinator.py",)),
    Benchmark(name="rewards", arguments=("rewards.py",)),
    Benchmark(name="engine", arguments=("engine.py",)),
    Benchmark(name="grpo_step", arguments=("grpo_step.py",), timeout_s=2400.0),
    Benchmark(
        name="grpo_step_micro_batch_32",
        arguments=("grpo_step.py", "--micro-batch", "32"),
        timeout_s=2400.0,
    ),
    Benchmark(name="learner", arguments=("learner.py",)),
    Benchmark(name="algorithms", arguments=("algorithms.py",), timeout_s=1800.0),
    Benchmark(name="rollout", arguments=("rollout.py", "--deadline", "500"), needs_gpu=True),
    Benchmark(name="weight_sync_gpu", arguments=("weight_sync_gpu.py",), needs_gpu=True),
    Benchmark(name="weight_sync_nccl", arguments=("weight_sync_gpu.py", "--over", "nccl"), min_gpus=2),
    Benchmark(name="gsm8k_loop", arguments=("gsm8k_loop.py", "--data", GSM8K), needs_gpu=True),
    Benchmark(
        name="gsm8k_loop_tutorial",
        arguments=("gsm8k_loop.py", "--data", GSM8K, "--shape", "tutorial"),
        needs_gpu=True,
    ),
    Benchmark(name="learner_ranks", arguments=("learner_ranks.py", "--accelerator", GPU), min_gpus=2),
    Benchmark(
        name="scaling",
        arguments=("scaling.py", "--data", GSM8K, "--deadline", "1400"),
        timeout_s=1500.0,
        min_gpus=2,
    ),
)


def main() -> int:
    """Run them; 1 if any failed."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    chosen = parser.parse_args().only
    failures = [
        failure for benchmark in BENCHMARKS if benchmark.name in chosen if (failure := run(benchmark)) is not None
    ]
    table = subprocess.run([sys.executable, FOLDER / "make_table.py"], check=False, timeout=60)
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures or table.returncode else 0


def run(benchmark: Benchmark) -> str | None:
    """Run one; say what went wrong, if anything did."""
    if benchmark.needs_gpu and not gpu_name():
        print(f"── {benchmark.name}: left out, this machine has no GPU", flush=True)
        return None
    if (found := num_gpus() if benchmark.min_gpus else 0) < benchmark.min_gpus:
        print(f"── {benchmark.name}: left out, this machine has {found} of {benchmark.min_gpus} GPUs", flush=True)
        return None
    print(f"── {benchmark.name}", flush=True)
    program, *options = [gpu_name() if word == GPU else word for word in benchmark.arguments]
    started = time.monotonic()
    # A group of its own: whatever it has started ends with it.
    process = subprocess.Popen([sys.executable, FOLDER / program, *options], process_group=0)
    try:
        code = process.wait(benchmark.timeout_s)
    except subprocess.TimeoutExpired:
        end(process)
        return f"{benchmark.name} was ended after {benchmark.timeout_s:.0f} s"
    except KeyboardInterrupt:
        end(process)
        raise
    print(f"── {benchmark.name}: {time.monotonic() - started:.0f} s", flush=True)
    return f"{benchmark.name} ended with code {code}" if code else None


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to leave, then kill it."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
