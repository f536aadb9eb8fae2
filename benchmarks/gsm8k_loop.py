"""The whole loop as a user runs it: `tetrad train`, learner and SGLang engine taking turns on one GPU.

`--shape gsm8k`: GRPO on GSM8K with a real model for as many steps as fit in the budget: rewards, format rate, strict
and flexible accuracy on a fixed part of the test split before training and at the last evaluation, seconds of a step by
phase. `--shape tutorial`: the tutorial's batch (256 prompts × 4 samples × at most 1,024 tokens, mini-batches of 64
prompts, KL to a reference) with random weights of the 0.5B shape, which run to the limit, for three steps; the tutorial
says 144 to 216 s a step on four A100. The keys are those of the tutorial's run file. All figures are what the run
itself writes: metrics.jsonl, summary.json and the dumped answers; they are read every few seconds, so that a run that
is cut off leaves what it has found. Words after the options are further overrides of the run file.

    python benchmarks/gsm8k_loop.py --data FOLDER [--shape gsm8k] [--budget 560] [key=value …]
    python benchmarks/gsm8k_loop.py --data FOLDER --shape tutorial --budget 230
    python benchmarks/gsm8k_loop.py --data FOLDER --backend transformers --model FOLDER … +experiment=cpu    # no GPU

Without colocation (another GPU for the engine): add trainer.placement.colocate_all=false.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from accelerator import gpu_name
from engine_models import random_with_tokenizer
from gsm8k_figures import answer_figures, memory_figures, read_records, score_figures, step_figures
from gsm8k_rows import prepared_rows
from gsm8k_run_file import Sizes, overrides
from results_file import RESULTS, ROOT, earlier_metrics, installed, write_results

from tetrad_runtime.orphans import die_with_parent

NAME: Final = "gsm8k_loop"
PACKAGES: Final = ("torch", "transformers", "sglang")
SIZES: Final = {
    "gsm8k": Sizes(prompts=64, mini_prompts=64, samples=8, tokens=256, steps=10_000, eval_interval=10),
    "tutorial": Sizes(prompts=256, mini_prompts=64, samples=4, tokens=1024, steps=3, eval_interval=-1),
}
TUTORIAL_SHAPE: Final = "0.5b"
STOP_S: Final = 30.0
"""For the run to end in order before the budget is over."""
STOPPED: Final = 128 + signal.SIGTERM
POLL_S: Final = 3.0
LOG_END: Final = 3000
CLOCK: Final = time.monotonic()


def main() -> None:
    """Train, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SIZES, default="gsm8k", help="what is trained (default %(default)s)")
    parser.add_argument("--data", type=Path, required=True, help="GSM8K: train.jsonl and test.jsonl, or .parquet files")
    parser.add_argument("--model", type=Path, default=Path("/tmp/smollm2-135m"), help="model, or its tokenizer")
    parser.add_argument("--backend", default="sglang", help="engine (default %(default)s)")
    parser.add_argument("--budget", type=float, default=560.0, help="seconds of everything (default 560)")
    parser.add_argument("--eval-rows", type=int, default=256, help="problems of an evaluation (default 256)")
    parser.add_argument("--mode", default="flexible", help="which answers are rewarded in training (default flexible)")
    parser.add_argument("--lr", type=float, default=5e-6, help="learning rate of --shape gsm8k (default 5e-6)")
    parser.add_argument("--folder", type=Path, help="where run, rows and models are kept (default: a temporary folder)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sys.exit(measure(arguments, words, folder))


def measure(arguments: argparse.Namespace, words: list[str], folder: Path) -> int:
    """Run the loop until it ends or the budget does; 1 where it failed before its first step."""
    train, test = prepared_rows(arguments.data, folder / "rows", num_test=arguments.eval_rows)
    model = arguments.model
    if arguments.shape == "tutorial":
        model = random_with_tokenizer(TUTORIAL_SHAPE, arguments.model, folder / f"random-{TUTORIAL_SHAPE}")
    run_dir = folder / f"run-{arguments.shape}"
    sizes = SIZES[arguments.shape]
    chosen = overrides(sizes, model=model, train=train, test=test, run_dir=run_dir, backend=arguments.backend)
    chosen += [f"environment.gsm8k.mode={arguments.mode}"]
    if arguments.shape == "gsm8k":
        chosen += [f"trainer.policy.optimizer_config.lr={arguments.lr}"]
    command = [sys.executable, "-m", "tetrad_cli", "train", *chosen, *words]
    say(f"{arguments.shape}: starting, {left_s(arguments):.0f} s are left")
    # There are no threads here.
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=die_with_parent())  # noqa: PLW1509
    try:
        code = watched(process, arguments, run_dir)
    finally:
        end(process)
    found = collected(run_dir, arguments)
    # A run that was asked to stop in time ends with the signal's code.
    if not found or code not in (0, None, STOPPED):
        show_logs(run_dir)
    say(f"{arguments.shape}: the run ended with code {code}")
    return 0 if found else 1


def watched(process: subprocess.Popen[bytes], arguments: argparse.Namespace, run_dir: Path) -> int | None:
    """Wait for the run and keep the results current; ask it to stop where the budget wants that."""
    is_asked, num_seen = False, 0
    while (code := process.poll()) is None and left_s(arguments) > 0:
        if not is_asked and left_s(arguments) < STOP_S:
            say("the budget is nearly over: the run is asked to stop")
            process.send_signal(signal.SIGTERM)
            is_asked = True
        if (num := len(read_records(run_dir / "metrics.jsonl"))) > num_seen:
            num_seen = num
            collected(run_dir, arguments)
        time.sleep(POLL_S)
    return code


def end(process: subprocess.Popen[bytes]) -> None:
    """End what is still there of the run; its services end with their launcher."""
    if process.poll() is None:
        process.kill()
        process.wait()


def collected(run_dir: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Figures of the run so far, written beside those of the other shape."""
    records = read_records(run_dir / "metrics.jsonl")
    found = step_figures(records) | score_figures(records) | answer_figures(run_dir / "exports" / "dumped_evals")
    if (summary := run_dir / "summary.json").exists():
        found |= memory_figures(json.loads(summary.read_text(encoding="utf-8")))
    if not found:
        return {}
    before = earlier_metrics(NAME, gpu_name(), folder=arguments.results)
    others = {name: value for name, value in before.items() if not name.startswith(f"{arguments.shape}_")}
    mine = {f"{arguments.shape}_{name}": value for name, value in found.items()}
    write_results(
        NAME, others | mine, other_versions=installed(PACKAGES), accelerator=gpu_name(), folder=arguments.results
    )
    return found


def show_logs(run_dir: Path) -> None:
    """The end of each log of a run that failed."""
    for path in sorted((run_dir / "logs").glob("*.log")):
        say(f"── {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-LOG_END:]}")


def left_s(arguments: argparse.Namespace) -> float:
    """Seconds until the budget is over."""
    left: float = arguments.budget - (time.monotonic() - CLOCK)
    return left


def say(text: str) -> None:
    """Progress, with the time since the start."""
    print(f"{time.monotonic() - CLOCK:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    main()
