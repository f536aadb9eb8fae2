"""The journal's folder: names of its files, and which are still needed."""

import re
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"step_(\d+)\.parquet")


def step_path(folder: Path, step: int) -> Path:
    """Return the file of a step.

    >>> step_path(Path("journal"), 7).name
    'step_00000007.parquet'
    """
    return folder / f"step_{step:08d}.parquet"


def list_steps(folder: Path) -> list[int]:
    """Return the journaled steps, in order; a missing folder has none."""
    if not folder.is_dir():
        return []
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def prune(folder: Path, *, oldest_step: int) -> list[int]:
    """Remove the files of steps before `oldest_step` and return those steps.

    `oldest_step` is the first step after the oldest retained checkpoint: replay never starts earlier.
    """
    outdated = [step for step in list_steps(folder) if step < oldest_step]
    for step in outdated:
        step_path(folder, step).unlink()
    return outdated
