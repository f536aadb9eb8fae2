"""What the makers of reference pages share: write a page, or say that it is not current."""

import argparse
import sys
from pathlib import Path
from typing import Final

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"


def publish(name: str, page: str, *, maker: str) -> int:
    """Write the page `docs/reference/<name>`; with `--check`, return 1 if that would change it."""
    parser = argparse.ArgumentParser(description=f"Write docs/reference/{name}.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    path = REFERENCE / name
    if not parser.parse_args().check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
        return 0
    if not path.exists() or path.read_text(encoding="utf-8") != page:
        print(f"docs/reference/{name} is not current: run make docs ({maker})", file=sys.stderr)
        return 1
    return 0
