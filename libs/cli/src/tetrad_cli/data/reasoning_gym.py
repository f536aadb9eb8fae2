"""Tasks of reasoning-gym in the row format: nothing is downloaded, and equal seeds give equal rows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tetrad_cli.data.errors import DataCommandError, MissingPackageError
from tetrad_cli.data.report import write_and_report
from tetrad_trajectories.row import Message, Row

INSTRUCTION: Final = "Give the final answer, and nothing else, between <answer> and </answer>."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to generate."""

    tasks: tuple[str, ...]
    """Names of reasoning-gym's data sets; rows of several alternate."""
    train_rows: int
    validation_rows: int
    seed: int
    config: Mapping[str, object] = field(default_factory=dict)
    """Settings of the task, where there is one task."""
    system_prompt: str | None = None


def prepare(output_dir: Path, wish: Wish) -> None:
    """Write train.parquet and validation.parquet; raises DataCommandError for what cannot be generated."""
    sizes = {"train": wish.train_rows, "validation": wish.validation_rows}
    metadata = {"tetrad.dataset": "reasoning-gym", "tetrad.tasks": ",".join(wish.tasks), "tetrad.seed": str(wish.seed)}
    for split, num_rows in sizes.items():
        write_and_report(output_dir / f"{split}.parquet", _rows(wish, split, num_rows), metadata=metadata)


def config_of(text: str, *, tasks: Sequence[str]) -> dict[str, object]:
    """Read `--config`; raises DataCommandError for what is no object, or goes to several tasks."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise DataCommandError(f"--config {text}: no JSON: {error}") from None
    if not isinstance(config, dict):
        raise DataCommandError(f"--config {text}: it must be an object, such as {{}}")
    if config and len(tasks) > 1:
        raise DataCommandError(f"--config is for one task; {len(tasks)} are named: make a data set for each")
    return config


def _rows(wish: Wish, split: str, num_rows: int) -> list[Row]:
    # Another seed for each split: a task's rows depend on the seed and their index alone.
    seed = wish.seed if split == "train" else wish.seed + 1
    sets = [_dataset(task, wish.config, seed=seed, size=num_rows) for task in wish.tasks]
    return [_row(wish, split, seed, sets, index) for index in range(num_rows)]


def _row(wish: Wish, split: str, seed: int, sets: Sequence[Any], index: int) -> Row:
    place = index % len(sets)
    entry = sets[place][index]
    question = Message("user", f"{entry['question']}\n\n{INSTRUCTION}")
    return Row(
        prompt=(question,) if wish.system_prompt is None else (Message("system", wish.system_prompt), question),
        env_class="reasoning_gym",
        reward_method="rule",
        ground_truth=str(entry["answer"]),
        extras={
            "data_source": f"reasoning_gym/{wish.tasks[place]}",
            "extra_info": {"split": split, "index": index},
            # By these its grader generates the row again; metadata may be any Python object, which no file holds.
            "reasoning_gym": {
                "task": wish.tasks[place],
                "config": json.dumps(dict(wish.config), sort_keys=True),
                "seed": seed,
                "size": len(sets[place]),
                "index": index,
            },
        },
    )


def _dataset(task: str, config: Mapping[str, object], *, seed: int, size: int) -> Any:
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ModuleNotFoundError:
        raise MissingPackageError(package="reasoning-gym", extra="reasoning-gym") from None
    if task not in DATASETS:
        raise DataCommandError(
            f"--task {task}: reasoning-gym has none of that name; it has {', '.join(_near(task, DATASETS))}"
        )
    try:
        return reasoning_gym.create_dataset(task, seed=seed, size=size, **config)
    # Each task checks its settings in its own way: by assertions, mostly.
    except (AssertionError, TypeError, ValueError) as error:
        raise DataCommandError(f"--task {task} with {json.dumps(dict(config))}: {error}") from error


def _near(task: str, known: Mapping[str, object]) -> Iterator[str]:
    from difflib import get_close_matches

    yield from get_close_matches(task, known, n=5, cutoff=0.4) or sorted(known)[:8]
