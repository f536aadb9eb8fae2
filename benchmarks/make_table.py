"""Write `benchmarks/README.md` from `benchmarks/results/`; `--check` only says whether it is current.

python benchmarks/make_table.py [--check]
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from aims import aim_of, read_name

FOLDER: Final = Path(__file__).parent
RESULTS: Final = FOLDER / "results"
PAGE: Final = FOLDER / "README.md"
PREAMBLE: Final = FOLDER / "readme_preamble.md"
COLUMNS: Final = ("benchmark", "metric", "value", "unit", "compared with", "aim", "met")
FIELDS: Final = frozenset({"name", "hardware", "versions", "commit", "command", "metrics"})
"""What each results file has."""
Result = Mapping[str, Any]


def main() -> int:
    """Write the page, or return 1 if it would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    arguments = parser.parse_args()
    page = render(read_results(RESULTS))
    if not arguments.check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        print("benchmarks/README.md is not current: run benchmarks/make_table.py", file=sys.stderr)
        return 1
    return 0


def read_results(folder: Path) -> list[Result]:
    """Every results file, by name; raise ValueError where one is incomplete."""
    results = []
    for path in sorted(folder.glob("*.json")):
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        if missing := FIELDS - result.keys():
            raise ValueError(f"{path.name} lacks {', '.join(sorted(missing))}")
        results.append(result)
    return results


def render(results: list[Result]) -> str:
    """The page."""
    rows = [row for result in results for row in rows_of(result)]
    return PREAMBLE.read_text(encoding="utf-8").format(
        table="\n".join(table(COLUMNS, rows)),
        runs="\n".join(table(("benchmark", "hardware", "versions", "commit", "command"), map(run_of, results))),
    )


def rows_of(result: Result) -> Iterator[tuple[str, ...]]:
    """One row for each metric; those with an aim come first."""
    metrics: Mapping[str, float] = result["metrics"]
    name, slug = result["name"], result["hardware"]["slug"]
    for metric in sorted(metrics, key=lambda metric: aim_of(name, metric) is None):
        reading, aim, value = read_name(metric), aim_of(name, metric), metrics[metric]
        met = "" if aim is None else "yes" if aim.is_met(value) else "**no**"
        yield f"{name}, {slug}", reading.what, shown(value), reading.unit, reading.peer, str(aim or ""), met


def run_of(result: Result) -> tuple[str, ...]:
    """Where, with what and how one benchmark was run."""
    hardware = result["hardware"]
    machine = f"{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    commit = result["commit"]
    short = commit[:10] + ("-dirty" if commit.endswith("-dirty") else "")
    return result["name"], machine, versions, f"`{short}`", f"`{result['command']}`"


def shown(value: float) -> str:
    """Four significant digits, thousands separated.

    >>> shown(57500.0), shown(0.2546), shown(2)
    ('57,500', '0.2546', '2')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(columns: tuple[str, ...], rows: Any) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    sys.exit(main())
