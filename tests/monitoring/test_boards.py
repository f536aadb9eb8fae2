"""The committed boards are those of the code, keep to the rules, and ask for metrics that exist."""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"


@dataclass(frozen=True)
class Tools:
    """The package of the boards, which is not installed."""

    asking: ModuleType
    files: ModuleType
    lint: ModuleType
    kinds: dict[str, str]
    """Of metrics."""


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    sys.path.insert(0, str(TOOLS))
    asking, files, lint = (import_module(f"boards.{name}") for name in ("asking", "files", "lint"))
    yield Tools(asking, files, lint, import_module("lint_dashboards").metric_kinds())
    sys.path.remove(str(TOOLS))


def run_tool(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(TOOLS / name), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(120)
def test_the_json_of_the_boards_is_current():
    checked = run_tool("make_dashboards.py", "--check")

    assert checked.returncode == 0, checked.stderr


@pytest.mark.timeout(120)
def test_the_boards_have_no_fault():
    checked = run_tool("lint_dashboards.py")

    assert checked.returncode == 0, checked.stderr


def test_there_are_five_boards_of_some_size(tools):
    boards = tools.files.read_boards()

    assert set(boards) == {"overview", "rollout", "reward", "learner", "weights"}
    assert sum(1 for name, board in boards.items() for _ in tools.files.panels_of(name, board)) >= 55


def test_grafana_s_own_models_know_everything_that_is_in_a_board(tools):
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    for board in tools.files.read_boards().values():
        again = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(Dashboard.from_json(copy.deepcopy(board))))

        assert again == board


def test_only_rows_that_exist_may_be_empty(tools):
    boards = tools.files.read_boards()
    rows = {(name, panel.row) for name, board in boards.items() for panel in tools.files.panels_of(name, board)}

    assert set(tools.files.EMPTY_ON_A_CPU) <= rows
    assert all(tools.files.EMPTY_ON_A_CPU.values())


def _broken(panel, target, annotation, board, fault):
    match fault:
        case "description":
            panel["description"] = ""
        case "unit":
            panel["fieldConfig"]["defaults"]["unit"] = ""
        case "source":
            panel["datasource"]["uid"] = "prometheus"
        case "twice":
            board["panels"][2]["title"] = panel["title"]
        case "over":
            board["panels"][2]["gridPos"] = dict(panel["gridPos"])
        case "run":
            target["expr"] = "sum(up)+up{}"
        case "range":
            target["expr"] = 'rate(tetrad_learner_steps_total{run=~"$run"}[5m])'
        case "gauge":
            target["expr"] = 'rate(tetrad_learner_leases{run=~"$run"}[$__rate_interval])'
        case "unknown":
            target["expr"] = 'tetrad_learner_stepz_total{run=~"$run"}'
        case "legend":
            target["legendFormat"] = ""
        case "annotation":
            annotation["expr"] = "up{}"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("description", "has no description"),
        ("unit", "has no unit"),
        ("source", "its data source must be ${datasource}"),
        ("twice", "2 panels are called"),
        ("over", "lies over"),
        ("run", 'up must be selected by run=~"$run"'),
        ("range", "the range must be [$__rate_interval]"),
        ("gauge", "rate of tetrad_learner_leases, which is a gauge"),
        ("unknown", "no service makes tetrad_learner_stepz_total"),
        ("legend", "has no legend"),
        ("annotation", 'up must be selected by run=~"$run"'),
    ],
)
def test_each_rule_finds_its_fault(tools, fault, said):
    board = tools.files.read_boards()["overview"]
    panel, annotation = board["panels"][1], board["annotations"]["list"][0]
    _broken(panel, panel["targets"][0], annotation, board, fault)

    assert any(said in one for one in tools.lint.faults("overview", board, kinds=tools.kinds))


def test_a_query_without_a_server_is_an_error_that_names_it(tools):
    nobody = tools.asking.Prometheus("http://127.0.0.1:9")

    with pytest.raises(tools.asking.AskingError, match=r"http://127\.0\.0\.1:9 does not answer"):
        nobody.ask("up", run=".*", begin=0.0, end=1.0, step_s=1.0)


def test_what_is_not_a_number_is_no_data(tools):
    line = tools.asking.Line({}, (0.0, 5.0), (float("nan"), float("nan")))

    assert not line.has_data
