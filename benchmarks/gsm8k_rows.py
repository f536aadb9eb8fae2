"""GSM8K as the loop's rows: all of the training split, the beginning of the test split."""

import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

SOURCES: Final = ("train.jsonl", "test.jsonl")
PREPARED: Final = ("train.parquet", "validation.parquet")
TIMEOUT_S: Final = 120.0


def prepared_rows(data: Path, folder: Path, *, num_test: int) -> tuple[Path, Path]:
    """Paths of both files; `data` holds the published problems, or what `tetrad data gsm8k` made of them."""
    folder.mkdir(parents=True, exist_ok=True)
    train, test = (folder / name for name in PREPARED)
    if all((data / name).exists() for name in PREPARED):
        pq.write_table(pq.read_table(data / PREPARED[1]).slice(0, num_test), test)
        return data / PREPARED[0], test
    if missing := [name for name in SOURCES if not (data / name).exists()]:
        raise FileNotFoundError(f"{data} has neither {', '.join(PREPARED)} nor {', '.join(missing)}")
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for name, limit in zip(SOURCES, (None, num_test), strict=True):
        with (data / name).open(encoding="utf-8") as problems:
            (source / name).write_text("".join(islice(problems, limit)), encoding="utf-8")
    command = [sys.executable, "-m", "tetrad_cli", "data", "gsm8k", "--output-dir", folder, "--source", source]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return train, test
