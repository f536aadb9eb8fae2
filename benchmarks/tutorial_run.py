"""What a run of the tutorial's file has learned, and in what time, from the run's own folder.

Runs nothing. The run is the tutorial's: `tetrad train --config-path . --config-name my_training_config`, with the
machine's placement and nothing else changed; its folder has `config.yaml` and `metrics.jsonl`. Run this where the run
was, at its commit, since both are written down. Accuracy is by each rule of GSM8K, so that a model that learns the
format can be told from one that learns arithmetic. Hours are those of training steps, evaluations left out.

    python benchmarks/tutorial_run.py outputs/sglang-grpo [--results FOLDER]

`docs/reference/claimed-and-measured.md` is made from the result by `make docs`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from accelerator import gpu_name
from gsm8k_figures import read_records
from gsm8k_loop import PACKAGES
from results_file import RESULTS, installed, write_results

from tetrad_config.resolved import load_resolved
from tetrad_reward.extraction import Mode

NAME: Final = "tutorial_run"
CLAIMED_STEPS: Final = (5, 10, 50)
"""Steps whose accuracy the tutorial names; it names the time of the last one."""
HOUR_S: Final = 3600.0
Records = Sequence[tuple[int, Mapping[str, float]]]


def main() -> None:
    """Read the run's folder, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="folder of a run that has ended")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result (default %(default)s)")
    arguments = parser.parse_args()
    config = load_resolved(arguments.run_dir / "config.yaml")
    figures = figures_of(read_records(arguments.run_dir / "metrics.jsonl"))
    setting = {
        "model": Path(config.trainer.policy.model.path).name,
        "seed": config.trainer.seed,
        "prompts": config.trainer.train_batch_size,
        "samples": config.generator.n_samples_per_prompt,
        "ranks": config.trainer.placement.num_ranks,
    }
    path = write_results(
        NAME,
        figures,
        other_versions=installed(PACKAGES),
        setting=setting,
        accelerator=gpu_name(),
        folder=arguments.results,
    )
    print(path)


def figures_of(records: Records) -> dict[str, float]:
    """Accuracy before training and at the claimed steps; hours up to the last of them.

    >>> records = [(0, {"eval/all/mean_reward_strict": 0.2}), *((n, {"timing/step": 72.0}) for n in range(1, 51))]
    >>> figures_of([*records, (50, {"eval/all/mean_reward_strict": 0.4})])
    {'strict_before_correct_share': 0.2, 'strict_step_50_correct_share': 0.4, 'trained_steps': 50, 'step_50_hours': 1.0}
    """
    figures: dict[str, float] = {}
    for mode in Mode:
        name = f"eval/all/mean_reward_{mode}"
        scores = {step: metrics[name] for step, metrics in records if name in metrics}
        for when, step in (("before", 0), *((f"step_{step}", step) for step in CLAIMED_STEPS)):
            if step in scores:
                figures[f"{mode}_{when}_correct_share"] = scores[step]
    seconds = {step: metrics["timing/step"] for step, metrics in records if "timing/step" in metrics}
    figures["trained_steps"] = len(seconds)
    claimed = range(1, CLAIMED_STEPS[-1] + 1)
    if all(step in seconds for step in claimed):
        figures[f"step_{CLAIMED_STEPS[-1]}_hours"] = sum(seconds[step] for step in claimed) / HOUR_S
    return figures


if __name__ == "__main__":
    main()
