"""Which pages have blocks that run, and which of them with every test."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

FIRST_READ: Final = ("README.md", "docs/tutorials/*.md")
"""Their blocks run with every test, but for those of `ELSEWHERE`."""
OTHERS: Final = ("docs/*.md", "docs/how-to/*.md", "docs/explanation/*.md")
"""Theirs run by `make test-docs`."""
ELSEWHERE: Final = {"docs/tutorials/gsm8k-grpo-with-sglang.md": "tests/tutorial"}
"""Pages whose blocks are run by tests of their own, and where these are: whole by `make test-tutorial` only."""
MAPS: Final = ("CONTRIBUTING.md", "libs/*/README.md", "services/*/README.md", "examples/*/README.md")
"""Pages whose commands are checked and not run."""


def found(*patterns: str) -> list[Path]:
    """The pages that fit, without those of `ELSEWHERE`."""
    pages = (path for pattern in patterns for path in sorted(ROOT.glob(pattern)))
    return [page for page in pages if named(page) not in ELSEWHERE]


def named(page: Path) -> str:
    """The page relative to the repository."""
    return page.relative_to(ROOT).as_posix()
