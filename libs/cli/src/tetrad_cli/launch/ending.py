"""How the last life of a run ended, for those who ask when nobody is there to answer.

Owns `ended.json` in the run directory: there after a launcher has left in order, gone while one is at work.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

END_NAME: Final = "ended.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How and when it ended."""

    code: int
    """Exit code of the launcher."""
    reason: str
    culprit: str | None
    """The process whose log explains it; None when nothing went wrong."""
    at: float
    """Unix time."""
    last_words: str = ""
    """The last line of the culprit's log."""


def write_end(run_dir: Path, ending: Ending) -> None:
    """Note the end; a reader sees all of it or nothing."""
    new = run_dir / f".{END_NAME}.new"
    new.write_text(json.dumps(asdict(ending)) + "\n")
    new.replace(run_dir / END_NAME)


def forget_end(run_dir: Path) -> None:
    """The run lives again."""
    (run_dir / END_NAME).unlink(missing_ok=True)


def read_end(run_dir: Path) -> Ending | None:
    """Return how the run ended; None where its launcher could not say, or there never was one."""
    try:
        return Ending(**json.loads((run_dir / END_NAME).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
