"""One GRPO step of Tetrad, all four services, against TRL's GRPOTrainer in the same run.

Both take the same model (a Llama of 16M random parameters), the same 8 prompts × 4 samples × 64 new tokens, reward,
learning rate, micro-batch and threads per process, no KL, one optimizer step; neither is given an end-of-sequence rule
beyond the model's own, which random weights practically never sample (`*_mean_sample_tokens` proves it). They take
turns (ours, TRL's, ours, …); the first step of each turn is a warm-up. Medians over steps; ratios within a turn, then
their median. Both may use every core of the machine; each process that computes has `--threads` threads.

TRL runs in an environment of its own, `.venv-bench`, which `make bench` makes of benchmarks/requirements.txt.

    python benchmarks/grpo_step.py [--turns 3] [--steps 5] [--threads 1] [--micro-batch 8]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpo_peer_tetrad
from grpo_setting import Setting, thread_environment
from random_llama import random_llama
from results_file import RESULTS, ROOT, num_cores, write_results

TRL: Final = Path(__file__).with_name("grpo_peer_trl.py")
TRL_PYTHON: Final = ROOT / ".venv-bench" / "bin" / "python"
TURN_TIMEOUT_S: Final = 1200.0
GIB: Final = 2**30
DEFAULT_MICRO_BATCH: Final = Setting(num_steps=2).micro_batch_size
Steps = Sequence[dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One turn of each, one after the other; warm-up steps are gone."""

    ours: Steps
    theirs: Steps
    memory: dict[str, float]
    """Of this pair, in bytes: `all_processes`, `proportional`, `rank`, `trl`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlTurn:
    """What `grpo_peer_trl.py` says at its end."""

    steps: Steps
    peak_bytes: int
    """Of the resident set of its only process."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="turns of each side (default 3)")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn, the warm-up included (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process that computes (default 1)")
    parser.add_argument(
        "--micro-batch",
        type=int,
        default=DEFAULT_MICRO_BATCH,
        help="samples of one pass on both sides (default %(default)s)",
    )
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens of a sample (default 64)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    if arguments.steps < 2:
        parser.error(f"--steps {arguments.steps}: the first is a warm-up, so at least 2")
    if not TRL_PYTHON.exists():
        parser.error(f"there is no {TRL_PYTHON.relative_to(ROOT)}; `make bench` makes it")
    setting = Setting(
        num_steps=arguments.steps,
        num_threads=arguments.threads,
        micro_batch_size=arguments.micro_batch,
        max_new_tokens=arguments.new_tokens,
    )
    model = random_llama()
    pairs = [one_pair(model, setting) for _ in range(arguments.turns)]
    metrics = summary(pairs, batch_size=setting.batch_size) | {
        "threads_per_process_count": setting.num_threads,
        "cores_allowed_count": num_cores(),
        "micro_batch_samples": setting.micro_batch_size,
    }
    path = write_results(
        name_of(setting),
        metrics,
        packages=("torch", "transformers"),
        other_versions=trl_versions(),
        folder=arguments.results,
    )
    print(path.read_text(encoding="utf-8"))


def name_of(setting: Setting) -> str:
    """Results of another micro-batch than TRL's default are results of their own."""
    size = setting.micro_batch_size
    return "grpo_step" if size == DEFAULT_MICRO_BATCH else f"grpo_step_micro_batch_{size}"


def one_pair(model: Path, setting: Setting) -> Pair:
    """Let each side train once."""
    with tempfile.TemporaryDirectory(prefix="tetrad-bench-") as folder:
        ours = grpo_peer_tetrad.run(model, setting, folder=Path(folder), timeout_s=TURN_TIMEOUT_S)
    print("tetrad", json.dumps(ours.steps), file=sys.stderr)
    for pid, peak in sorted(ours.peaks.resident.items(), key=lambda item: -item[1]):
        print(f"{peak / GIB:8.2f} GiB  {ours.peaks.command[pid][:100]}", file=sys.stderr)
    theirs = run_trl(model, setting)
    print("trl   ", json.dumps(theirs.steps), file=sys.stderr)
    memory = {
        "all_processes": float(ours.peaks.total),
        "proportional": float(ours.peaks.proportional),
        "rank": float(ours.rank_peak_bytes),
        "trl": float(theirs.peak_bytes),
    }
    return Pair(ours=ours.steps[1:], theirs=theirs.steps[1:], memory=memory)


def run_trl(model: Path, setting: Setting) -> TrlTurn:
    """Let TRL train once."""
    done = subprocess.run(
        [TRL_PYTHON, TRL, model, json.dumps(setting.fields())],
        env=thread_environment(setting.num_threads) | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=TURN_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"TRL failed with code {done.returncode}:\n{done.stderr[-4000:]}")
    return TrlTurn(**json.loads(done.stdout.splitlines()[-1]))


def trl_versions() -> dict[str, str]:
    """Versions in TRL's environment."""
    program = "import json; from importlib.metadata import version as v; print(json.dumps({'trl': v('trl')}))"
    done = subprocess.run([TRL_PYTHON, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def summary(pairs: Sequence[Pair], *, batch_size: int) -> dict[str, float]:
    """Metrics by name."""
    metrics: dict[str, float] = {}
    for side, turns in (("tetrad", [pair.ours for pair in pairs]), ("trl", [pair.theirs for pair in pairs])):
        middle = {key: middle_of([step for turn in turns for step in turn], key) for key in turns[0][0]}
        metrics |= {
            f"{side}_samples_per_s": batch_size / middle["step_s"],
            f"{side}_generate_samples_per_s": batch_size / middle["generate_s"],
            f"{side}_train_samples_per_s": batch_size / middle["train_s"],
            **{f"{side}_{key}": value for key, value in middle.items() if key.endswith("_s")},
            f"{side}_mean_sample_tokens": statistics.mean(step["new_tokens"] for turn in turns for step in turn),
        }
    for name, key in (("", "step_s"), ("generate_", "generate_s"), ("train_", "train_s")):
        paired = [middle_of(pair.theirs, key) / middle_of(pair.ours, key) for pair in pairs]
        metrics[f"{name}samples_per_s_ratio_to_trl"] = statistics.median(paired)
    return metrics | memory_metrics(pairs)


def memory_metrics(pairs: Sequence[Pair]) -> dict[str, float]:
    """Peaks: the largest of all turns, and what part of TRL's they are."""
    peak = {key: max(pair.memory[key] for pair in pairs) for key in pairs[0].memory}
    return {
        "trl_peak_rss_gib": peak["trl"] / GIB,
        "tetrad_learner_rank_peak_rss_gib": peak["rank"] / GIB,
        "tetrad_all_processes_sum_of_peak_rss_gib": peak["all_processes"] / GIB,
        "tetrad_all_processes_peak_pss_gib": peak["proportional"] / GIB,
        "learner_rank_peak_rss_ratio_to_trl": peak["rank"] / peak["trl"],
        "all_processes_sum_of_peak_rss_ratio_to_trl": peak["all_processes"] / peak["trl"],
        "all_processes_peak_pss_ratio_to_trl": peak["proportional"] / peak["trl"],
    }


def middle_of(steps: Steps, key: str) -> float:
    """Median over steps."""
    return statistics.median(step[key] for step in steps)


if __name__ == "__main__":
    main()
