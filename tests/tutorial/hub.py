"""What the tutorial fetches from the Hugging Face Hub, made here in small and put where the Hub's cache would be.

The names stay as printed: with `HF_HOME` at the folder and `HF_HUB_OFFLINE=1` they find these files, without a network.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from tutorial.problems import problems
from tutorial.small_model import save_small_model

DATASET: Final = "openai/gsm8k"
NUM_PROBLEMS: Final[Mapping[str, int]] = {"train": 7473, "test": 1319}
"""As many as GSM8K has."""
MODELS: Final[Mapping[str, int]] = {"Qwen/Qwen2.5-0.5B-Instruct": 2, "Qwen/Qwen2.5-1.5B-Instruct": 3}
"""Hub name → layers of the small model that stands there."""
REVISION: Final = "0" * 40


def make_hub(home: Path) -> None:
    """Fill a folder for `HF_HOME` with the data set and the two models of the tutorial."""
    make_dataset(home)
    for name, layers in MODELS.items():
        save_small_model(_snapshot(home, "models", name), layers=layers)


def make_dataset(home: Path) -> None:
    """Put the data set there; it takes a second, the models a minute."""
    rng = random.Random(0)
    for split, number in NUM_PROBLEMS.items():
        path = _snapshot(home, "datasets", DATASET) / "main" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        rows = [{"question": one.question, "answer": one.answer} for one in problems(rng, number)]
        pq.write_table(pa.Table.from_pylist(rows), path)


def _snapshot(home: Path, kind: str, name: str) -> Path:
    """Return the folder of the only revision that the cache knows."""
    repository = home / "hub" / f"{kind}--{name.replace('/', '--')}"
    folder = repository / "snapshots" / REVISION
    folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(REVISION)
    return folder
