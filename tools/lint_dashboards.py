"""Say what is wrong with the committed Grafana boards: rules, metric names, and syntax where promtool is installed."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from boards.asking import filled
from boards.files import panels_of, read_boards
from boards.lint import faults

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
METRIC: Final = re.compile(r"^\| `(?P<name>tetrad_\w+)` \| (?P<kind>counter|gauge|histogram) \|", re.MULTILINE)
# On every page, though no service makes it itself.
BUILD_INFO: Final = {"tetrad_build_info": "gauge"}


def main() -> int:
    """Print the faults; return 1 if there are any."""
    boards = read_boards()
    kinds = metric_kinds()
    found = [fault for name, board in boards.items() for fault in faults(name, board, kinds=kinds)]
    if shutil.which("promtool") is not None:
        found += syntax_faults(boards)
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found or not boards else 0


def metric_kinds() -> dict[str, str]:
    """The kind of each metric of the reference page, which is made from the services."""
    return BUILD_INFO | {row["name"]: row["kind"] for row in METRIC.finditer(REFERENCE.read_text(encoding="utf-8"))}


def syntax_faults(boards: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What promtool says of all queries, each dressed as a recording rule: that needs no server."""
    rules: list[dict[str, object]] = []
    for name, board in boards.items():
        asked = [target for panel in panels_of(name, board) for target in panel.targets]
        for query in (*asked, *board["annotations"]["list"]):
            record = f"check:{re.sub(r'[^a-z]', '_', name)}:{len(rules)}"
            rules.append({"record": record, "expr": filled(query["expr"], run=".*")})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queries.yml"
        # JSON is YAML.
        path.write_text(json.dumps({"groups": [{"name": "boards", "rules": rules}]}))
        checked = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    return [] if checked.returncode == 0 else [checked.stderr.strip() or checked.stdout.strip()]


if __name__ == "__main__":
    sys.exit(main())
