"""Check that each distribution declares what its sources import, and imports what it declares.

Reads sources and `pyproject.toml` files only; nothing of the distributions is imported.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# Projects beside the workspace: nothing depends on them.
COMPANIONS: Final = ("skyrl-train",)
# Import packages whose distribution has another name.
DISTRIBUTION_OF: Final[Mapping[str, str]] = {
    "yaml": "pyyaml",
    "zmq": "pyzmq",
    # pydantic pins its core exactly; a range of our own could only contradict it.
    "pydantic_core": "pydantic",
    # All of mlflow that a client needs; who has the whole of it has this too.
    "mlflow": "mlflow-skinny",
}
# Declared, and needed, though our sources do not import them.
NEEDED_BY_OTHERS: Final[Mapping[tuple[str, str], str]] = {
    ("tetrad-rollout", "jinja2"): "transformers renders chat templates with it and does not require it",
    ("tetrad-learner", "sqlalchemy"): "mlflow keeps the store in a run's folder with it; its skinny build does not",
    ("tetrad-learner", "alembic"): "the same",
    ("tetrad-broadcaster", "tetrad-devices"): "senders of weights are programs of it, started by name",
    ("tetrad-rollout", "sglang-kernel"): "sglang asserts this very version and takes what is there",
    ("tetrad-rollout", "flashinfer-python"): "the same",
    **{
        ("tetrad-skyrl-train", name): "a command of the tutorial runs it"
        for name in (
            *("tetrad-learner", "tetrad-rollout", "tetrad-reward", "tetrad-broadcaster"),
            *("accelerate", "tensorboard"),
        )
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One `pyproject.toml` and the sources beside it."""

    name: str
    """As in the project table, such as tetrad-wire."""
    folder: Path
    packages: frozenset[str]
    """Import packages that it ships."""
    required: frozenset[str]
    """Distributions that it always needs."""
    optional: frozenset[str]
    """Distributions that its extras need."""
    requirements: tuple[str, ...]
    """Every requirement, extras included, as written."""


def main() -> int:
    """Print every finding; 1 if there is one."""
    checked = [*distributions(ROOT), *companions(ROOT)]
    findings = [finding for one in checked for finding in findings_of(one)]
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


def distributions(root: Path) -> list[Distribution]:
    """Return every distribution of the workspace at `root`."""
    files = [*sorted(root.glob("libs/*/pyproject.toml")), *sorted(root.glob("services/*/pyproject.toml"))]
    return [_read(file) for file in files]


def companions(root: Path) -> list[Distribution]:
    """Return what lies beside the workspace at `root`."""
    return [_read(root / name / "pyproject.toml") for name in COMPANIONS]


def _read(file: Path) -> Distribution:
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    required = project.get("dependencies", [])
    optional = [text for texts in project.get("optional-dependencies", {}).values() for text in texts]
    return Distribution(
        name=project["name"],
        folder=file.parent,
        packages=frozenset(path.name for path in (file.parent / "src").iterdir() if (path / "__init__.py").exists()),
        required=frozenset(map(name_of, required)),
        optional=frozenset(map(name_of, optional)),
        requirements=(*required, *optional),
    )


def name_of(requirement: str) -> str:
    """Return the normalised name in a requirement.

    >>> name_of("tensorboardX[extra] >=2.6.2; python_version > '3.9'")
    'tensorboardx'
    """
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-")


def imports_of(distribution: Distribution) -> dict[str, Path]:
    """Return {distribution that is imported: a file that does}, the standard library and its own packages left out."""
    found: dict[str, Path] = {}
    for path in sorted((distribution.folder / "src").rglob("*.py")):
        for package in _imported_packages(ast.parse(path.read_text(encoding="utf-8"))):
            if package not in sys.stdlib_module_names and package not in distribution.packages:
                found.setdefault(DISTRIBUTION_OF.get(package, package.lower().replace("_", "-")), path)
    return found


def _imported_packages(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import():
            yield from (alias.name.partition(".")[0] for alias in node.names)
        case ast.ImportFrom(module=str(module), level=0):
            yield module.partition(".")[0]
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            # Never imported where it runs; checkers see the whole workspace.
            for child in node.orelse:
                yield from _imported_packages(child)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _imported_packages(child)


def findings_of(distribution: Distribution) -> Iterator[str]:
    """Yield what is imported and not declared, or declared and not imported."""
    imported = imports_of(distribution)
    declared = distribution.required | distribution.optional
    for name in sorted(set(imported) - declared):
        place = imported[name].relative_to(distribution.folder)
        yield f"{distribution.name}: {place} imports {name}, which its pyproject.toml does not declare"
    for name in sorted(declared - set(imported)):
        if (distribution.name, name) not in NEEDED_BY_OTHERS:
            yield f"{distribution.name}: declares {name}, which nothing in it imports"


if __name__ == "__main__":
    raise SystemExit(main())
