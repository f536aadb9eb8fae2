"""One walk through the tutorial for all tests, and the table at the end."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tutorial.blocks import Block, blocks_of
from tutorial.hub import make_hub
from tutorial.machine import Machine
from tutorial.table import blocks_table, promises_table
from tutorial.verdict import Verdict
from tutorial.walk import Walk
from tutorial.walker import Walker
from tutorial.workshop import Workshop

PAGE = Path(__file__).with_name("TUTORIAL_SGLANG.md")
VERDICTS = pytest.StashKey[list[Verdict]]()
WALK = pytest.StashKey[Walk]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gpu", action="store_true", help="run the tutorials' blocks that need a GPU")
    parser.addoption("--hub", type=Path, help="folder for HF_HOME with the real models; default: small ones, made here")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERDICTS] = []


@pytest.fixture(scope="session")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def blocks(page: str) -> list[Block]:
    return list(blocks_of(page))


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> Machine:
    if not request.config.getoption("--gpu", default=False):
        return Machine(num_gpus=0)
    import torch

    assert find_spec("sglang"), "--gpu needs an environment with SGLang: docs/how-to/run-on-a-gpu.md"
    assert torch.cuda.is_available(), "--gpu needs a GPU"
    return Machine(num_gpus=torch.cuda.device_count())


@pytest.fixture(scope="session")
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given: Path | None = request.config.getoption("--hub", default=None)
    if given is not None:
        return given.resolve()
    folder = tmp_path_factory.mktemp("hub")
    make_hub(folder)
    return folder


@pytest.fixture(scope="session")
def walk(
    request: pytest.FixtureRequest,
    blocks: list[Block],
    machine: Machine,
    hub: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Walk:
    # Ray would import what this names; it is unset in Part 4.
    variables = {"RAY_RUNTIME_ENV_HOOK": "nowhere.hook"}
    workshop = Workshop(tmp_path_factory.mktemp("workshop"), hub=hub, variables=variables)
    walk = Walk(machine=machine, workshop=workshop, blocks=blocks)
    Walker(walk).take()
    request.config.stash[WALK] = walk
    return walk


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest) -> Iterator[list[Verdict]]:
    """Where verdicts are put for the table."""
    return request.config.stash[VERDICTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if WALK in config.stash:
        terminalreporter.write(blocks_table(config.stash[WALK]))
    if config.stash[VERDICTS]:
        terminalreporter.write(promises_table(config.stash[VERDICTS]))
