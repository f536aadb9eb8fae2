"""What others meet and Tetrad's users cannot: each has a test that proves it, and the test is there."""

import ast
import re
from pathlib import Path

import pytest

from tetrad_cli.__main__ import main
from tetrad_cli.troubles.catalog import IMPOSSIBLE, TROUBLES
from tetrad_cli.troubles.trouble import Impossible

ROOT = Path(__file__).parents[4]
ANCHOR = re.compile(r"\]\(#([\w-]+)\)")


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTIONS)}


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("one", IMPOSSIBLE, ids=lambda one: one.title)
def test_its_proof_is_a_test_that_is_there(one: Impossible) -> None:
    path, _, name = one.proof.partition("::")

    assert name.startswith("test_")
    assert name in functions_of(ROOT / path), one.proof
    for slug in ANCHOR.findall(one.why):
        assert slug in TROUBLES


def test_no_proof_serves_for_two() -> None:
    assert len({one.proof for one in IMPOSSIBLE}) == len(IMPOSSIBLE)


def test_ray_is_neither_imported_nor_required_and_its_variable_may_stay_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "ray._private.runtime_env.uv_runtime_env_hook.hook")
    sources = [path for folder in ("libs", "services") for path in (ROOT / folder).glob("*/src/**/*.py")]
    wanted = [path for folder in ("libs", "services") for path in (ROOT / folder).glob("*/pyproject.toml")]

    assert main(["train", "--check", "+experiment=demo"]) == 0
    assert "ok: " in capsys.readouterr().out
    assert len(sources) > 100
    assert not [path for path in sources if re.search(r"^\s*(import|from) ray\b", path.read_text(), re.MULTILINE)]
    assert not [path for path in wanted if re.search(r'"ray\b', path.read_text())]
