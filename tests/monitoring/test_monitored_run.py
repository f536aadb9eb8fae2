"""A real Prometheus beside a real run: what it scrapes follows the run, and what it has can be asked for."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from chaos.run_under_test import MakeRun, RunUnderTest
from programs import needs_program

from tetrad_cli.launch.proc import RUN_MARK, marked

TOOLS = Path(__file__).parents[2] / "tools"
# The machine may be busy with other tests; by itself the whole test takes half a minute.
COMMAND_DEADLINE_S = 300.0
PROCESSES = {"launcher", "learner", "broadcaster", "reward-0", "rollout-0"}

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(600),
    needs_program("prometheus", package="prometheus"),
]


def tetrad(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "tetrad_cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(condition: Callable[[], object], what: str, *, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def in_the_background(make_run: MakeRun) -> Iterator[MakeRun]:
    """Makes runs that are taken down with the test: what a launcher in the background started outlives its starter."""
    runs: list[RunUnderTest] = []

    def make(*overrides: str, grade_s: float) -> RunUnderTest:
        runs.append(make_run(*overrides, grade_s=grade_s))
        return runs[-1]

    yield make
    for run in runs:
        tetrad(run.folder, "down", "--deadline=60")


def test_prometheus_follows_a_run_from_its_start_to_its_end(in_the_background: MakeRun, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    from boards.asking import Prometheus
    from boards.files import panels_of, read_boards

    run: RunUnderTest = in_the_background("trainer.max_steps=5000", grade_s=0.05)
    tetrad(run.folder, "up", *run.overrides)
    prometheus = Prometheus(f"http://127.0.0.1:{run.instance('prometheus').port}")

    # Every process of the run is reached, and every page is as promtool wants it.
    until(lambda: {name for name, health in prometheus.targets().items() if health == "up"} == PROCESSES, "all up")
    for target in json.loads((run.run_dir / "targets.json").read_text()):
        page = urlopen(f"http://{target['targets'][0]}/metrics", timeout=10).read()
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr

    # Replicas appear and leave by the target file.
    tetrad(run.folder, "scale", "rollout=2")
    until(lambda: prometheus.targets().get("rollout-1") == "up", "rollout-1 is scraped")
    tetrad(run.folder, "scale", "rollout=1")
    until(lambda: set(prometheus.targets()) == PROCESSES, "rollout-1 is no target any more")

    # It understands every query and every rule; whether each has data is for `make check-dashboards`.
    panels = [one for name, board in read_boards().items() for one in panels_of(name, board)]
    asked = [target["expr"] for one in panels for target in one.targets]

    def num_with_data() -> int:
        now = time.time()
        answers = [prometheus.ask(expr, run="chaos", begin=now - 30, end=now, step_s=5) for expr in asked]
        return sum(any(line.has_data for line in lines) for lines in answers)

    until(lambda: num_with_data() > len(asked) / 2, "most queries have data")
    assert set(prometheus.rules().values()) <= {"ok", "unknown"}

    # It is found again, may be ended and begun, and leaves with the run.
    assert prometheus.url in tetrad(run.folder, "dashboards")
    tetrad(run.folder, "scale", "prometheus=0")
    assert "prometheus" not in {one.name for one in run.instances()}
    assert prometheus.url in tetrad(run.folder, "dashboards")
    tetrad(run.folder, "down")
    assert marked(**{RUN_MARK: str(run.run_dir)}) == []
    assert (run.run_dir / "prometheus" / "data").is_dir()
