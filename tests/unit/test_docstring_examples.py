"""Every example in a docstring of libraries and services runs and gives what it shows."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = ("sglang", "reasoning_gym", "gguf")
"""Packages that a module may need and that are not installed with the others."""
SLOW = {"tetrad_cli.data.smollm2.conversion", "tetrad_reward.environments.reasoning_gym"}
"""Whose imports take longer than all the others together."""


def module_of(path: Path) -> str:
    """Its dotted name."""
    parts = path.with_suffix("").parts
    return ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")


SOURCES = sorted(path for folder in ("libs", "services") for path in (ROOT / folder).glob("*/src/**/*.py"))
WITH_EXAMPLES = {module_of(path): path for path in SOURCES if ">>> " in path.read_text()}


def test_there_are_examples() -> None:
    assert len(WITH_EXAMPLES) > 20
    assert set(WITH_EXAMPLES) >= SLOW


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in WITH_EXAMPLES]
)
def test_the_examples_of_a_module_give_what_they_show(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is an optional extra")

    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)

    assert found.attempted > 0, f"{name}: no docstring of it has its `>>>`"
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples of {name} fail; see the output above"
