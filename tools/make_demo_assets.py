"""Remake the assets of the demo: tokenizer, sums, and (with --warm-start) the checkpoint that it starts from.

    .venv/bin/python tools/make_demo_assets.py [--warm-start] [--output-dir DIR]

Seeds are tried until a checkpoint's accuracies are within the bounds, about half a minute each on one core. Which
seed that is differs between machines: training magnifies differences in the last bit.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import torch
from demo_tokenizer import save_tokenizer
from demo_warm_start import GREEDY_MIN, SAMPLED_MAX, Recipe, accuracy, is_acceptable, train
from transformers import LlamaForCausalLM

from tetrad_cli.data.arithmetic import Split, Sum, split, to_rows
from tetrad_trajectories.rows_file import write_rows

ASSETS: Final = Path(__file__).parents[1] / "libs/config/src/tetrad_config/assets/demo"


def main() -> int:
    """Write what was asked for and say what it is worth; 1 if a new warm start is not good enough."""
    arguments = _parser().parse_args()
    # Results depend on the number of threads in the last bits.
    torch.set_num_threads(1)
    exercises = split(digits=2)
    folder: Path = arguments.output_dir
    warm_start = folder / "warm_start"
    warm_start.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.max_attempts)
    if arguments.warm_start and not remake_warm_start(warm_start, exercises, seeds):
        return 1
    save_tokenizer(warm_start)
    write_rows(folder / "train.jsonl", to_rows(exercises.train, split_name="train"))
    write_rows(folder / "validation.jsonl", to_rows(exercises.held_out, split_name="validation"))
    print(f"wrote {folder}")
    return 0


def remake_warm_start(folder: Path, exercises: Split, seeds: Iterable[int]) -> bool:
    """Write the first acceptable warm start to `folder`; False if no seed gives one."""
    for seed in seeds:
        model = train(exercises.train, Recipe(seed=seed))
        if _is_accepted(model, exercises.held_out, seed):
            model.save_pretrained(folder)
            return True
    print("no seed was good enough; nothing was written")
    return False


def _is_accepted(model: LlamaForCausalLM, held_out: Sequence[Sum], seed: int) -> bool:
    greedy, sampled = accuracy(model, held_out)
    accepted = is_acceptable(greedy=greedy, sampled=sampled)
    print(
        f"seed {seed}: greedy {greedy:.3f} (at least {GREEDY_MIN}), sampled {sampled:.3f} "
        f"(at most {SAMPLED_MAX}): {'accepted' if accepted else 'refused'}",
        flush=True,
    )
    return accepted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=ASSETS, help="default: the assets in the repository")
    parser.add_argument("--warm-start", action="store_true", help="train the checkpoint anew, too")
    parser.add_argument("--first-seed", type=int, default=Recipe().seed, help="default: %(default)s")
    parser.add_argument("--max-attempts", type=int, default=10, help="seeds to try (default: %(default)s)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
