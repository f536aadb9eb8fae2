"""The committed boards are those of the code, keep to the rules, and ask for metrics that exist."""

import copy
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    checking: ModuleType
    files: ModuleType
    lint: ModuleType
    kinds: dict[str, str]
    """Of metrics."""


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    sys.path.insert(0, str(TOOLS))
    asking, files, lint = (import_module(f"boards.{name}") for name in ("asking", "files", "lint"))
    checking = import_module("check_dashboards")
    yield Tools(asking, checking, files, lint, import_module("lint_dashboards").metric_kinds())
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
        case "sglang":
            target["expr"] = 'sglang:token_usages{run=~"$run"}'
        case "sglang gauge":
            target["expr"] = 'rate(sglang:num_running_reqs{run=~"$run"}[$__rate_interval])'
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
        ("sglang", "no SGLang (see boards/sglang_names.py) makes sglang:token_usages"),
        ("sglang gauge", "rate of sglang:num_running_reqs, which is a gauge"),
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


class SaysSo(BaseHTTPRequestHandler):
    """Answers each question with what the server was given."""

    def do_GET(self):
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_args):
        pass


@pytest.mark.parametrize(
    ("answer", "board", "row", "said"),
    [
        ((400, {"status": "error", "error": "unknown function"}), "rollout", "SGLang", "unknown function"),
        ((400, {"status": "error", "error": "unknown function"}), "overview", "", "unknown function"),
        ((200, {"data": {"result": []}}), "rollout", "SGLang", None),
        ((200, {"data": {"result": []}}), "overview", "", "no data for up"),
    ],
)
def test_where_a_row_may_be_empty_no_data_is_forgiven_and_an_error_is_not(tools, answer, board, row, said):
    panel = tools.files.Shown(board, row, {"title": "t", "targets": [{"expr": "up", "legendFormat": "l"}]})
    server = ThreadingHTTPServer(("127.0.0.1", 0), SaysSo)
    server.answer = answer
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()

    try:
        asked = tools.asking.Prometheus(f"http://127.0.0.1:{server.server_port}")
        answered = tools.checking.answers(asked, panel, tools.checking.Span(0.0, 1.0))
    finally:
        server.shutdown()
        serving.join()
        server.server_close()

    may_be_empty = (board, row) in tools.files.EMPTY_ON_A_CPU
    faults = tools.checking.faults_of(answered, may_be_empty=may_be_empty)
    assert [said in fault for fault in faults] == ([True] if said else [])


def test_the_names_of_sglang_are_those_that_boards_ask_for(tools):
    """No more, so that each is looked for on the page of the real one."""
    asked = set()
    for name, board in tools.files.read_boards().items():
        for panel in tools.files.panels_of(name, board):
            for target in panel.targets:
                asked |= set(re.findall(r"sglang:\w+", target["expr"]))

    kinds = import_module("boards.sglang_names").SGLANG_KINDS
    assert {tools.lint.PARTS.sub("", one) for one in asked} == set(kinds)
