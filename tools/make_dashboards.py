"""Write `deploy/grafana/dashboards/*.json` from the boards; with `--check`, say whether they are current."""

import argparse
import sys
from pathlib import Path
from typing import Final

from boards.catalog import BOARDS, file_name
from boards.panels import as_json

FOLDER: Final = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"


def main() -> int:
    """Write them, or return 1 if that would change one."""
    parser = argparse.ArgumentParser(description="Write the JSON of the Grafana boards.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a board is not current")
    is_check = parser.parse_args().check
    wanted = {FOLDER / f"{file_name(board)}.json": as_json(board) for board in BOARDS}
    strange = sorted(set(FOLDER.glob("*.json")) - set(wanted))
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if not is_check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        for path in strange:
            path.unlink()
        return 0
    for path in (*stale, *strange):
        print(f"{path.name} is not current: run make docs (tools/make_dashboards.py)", file=sys.stderr)
    return 1 if stale or strange else 0


if __name__ == "__main__":
    sys.exit(main())
