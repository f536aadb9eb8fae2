"""Check that files and functions stay small and have a name that says their job.

Looks at the sources of every distribution; prints what is too large and returns 1.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 60
# Names under which anything could stand, and soon does.
NAMELESS: Final = frozenset({"utils", "util", "helpers", "helper", "misc", "common", "manager", "stuff"})
# Larger on purpose: path below the root, or path:function → how large at most.
EXCEPTIONS: Final[Mapping[str, int]] = {
    # One suite, one class that the tests of each engine inherit.
    "libs/testing/src/tetrad_testing/conformance/engine.py": 500,
    # One machine with one private state: every event has its method here.
    "services/learner/src/tetrad_learner/coordinator/core/core.py": 700,
    # The parts of the process in the order in which they are made; nothing is decided here.
    "services/learner/src/tetrad_learner/coordinator/compose.py:serve_coordinator": 75,
}


def main() -> int:
    """Print every finding; 1 if there is one."""
    findings = [finding for path in sources(ROOT) for finding in findings_of(path, root=ROOT)]
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


def sources(root: Path) -> Iterator[Path]:
    """Yield every Python file of the distributions below `root`."""
    for pattern in ("libs/*/src", "services/*/src", "skyrl-train/src"):
        for folder in sorted(root.glob(pattern)):
            yield from sorted(folder.rglob("*.py"))


def findings_of(path: Path, *, root: Path) -> Iterator[str]:
    """Yield what is wrong with one file, with the number and its limit."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(root).as_posix()
    if path.stem in NAMELESS:
        yield f"{name}: a file named {path.stem} does not say its job; name it after what it holds"
    limit = EXCEPTIONS.get(name, MAX_FILE_LINES)
    lines = text.count("\n")
    if lines > limit:
        yield f"{name}: {lines} lines; at most {limit}. Split it at a noun"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _finding_of_function(node, name)


def _finding_of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[str]:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    limit = EXCEPTIONS.get(f"{name}:{node.name}", MAX_FUNCTION_LINES)
    if lines > limit:
        yield f"{name}:{node.lineno}: {node.name} has {lines} lines; at most {limit}"


if __name__ == "__main__":
    raise SystemExit(main())
