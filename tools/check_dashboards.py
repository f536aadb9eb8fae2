"""A demo run with its real services and a real Prometheus: every query of every board must have data.

Then the boards are drawn from that data into docs/images. Needs the program `prometheus`: apt-get install prometheus.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from boards.asking import AskingError, Line, Prometheus, legend
from boards.drawing import Drawn, draw
from boards.files import EMPTY_ON_A_CPU, Shown, panels_of, read_boards

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs" / "images"
RUN: Final = "boards"
OVERRIDES: Final = (
    "+experiment=demo",
    f"trainer.run_name={RUN}",
    "trainer.max_steps=100000",
    # Often, so that what happens beside the steps is seen too.
    "trainer.eval_interval=10",
    "trainer.ckpt_interval=10",
)
SAMPLED_S: Final = 90.0
STEP_S: Final = 5.0
COMMAND_DEADLINE_S: Final = 600.0
# A question's rate needs two scrapes within its interval; the first half minute has none.
WARM_UP_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Span:
    """When the run was watched."""

    begin: float
    end: float


def main() -> int:
    """Return 1 if a query fails or has no data."""
    parser = argparse.ArgumentParser(description="Run every query of the boards against a real run.")
    parser.add_argument("--seconds", type=float, default=SAMPLED_S, help="how long the run is watched; default 90")
    parser.add_argument("--no-pictures", action="store_true", help="leave docs/images as it is")
    arguments = parser.parse_args()
    if shutil.which("prometheus") is None:
        print("the program prometheus is not installed: apt-get install prometheus", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="tetrad-boards-") as folder, running(Path(folder)) as prometheus:
        span = watched(Path(folder), seconds=arguments.seconds)
        faults, drawn = checked(prometheus, span)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not arguments.no_pictures:
        for name, board in read_boards().items():
            draw(board, drawn[name], IMAGES / f"board-{name}.png")
    num_queries = sum(len(one.panel.targets) for panels in drawn.values() for one in panels)
    print(f"{len(drawn)} boards, {num_queries} queries, {len(faults)} faults")
    return 1 if faults else 0


@contextmanager
def running(folder: Path) -> Iterator[Prometheus]:
    """A demo run that is up within the block, and the Prometheus beside it."""
    try:
        tetrad(folder, "up", *OVERRIDES)
        port = next(row["instance"]["port"] for row in rows(folder) if row["instance"]["name"] == "prometheus")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        tetrad(folder, "down")


def watched(folder: Path, *, seconds: float) -> Span:
    """Let it run; in the middle there is a second engine, so that boards show what scaling does."""
    begin = time.time()
    time.sleep(WARM_UP_S + seconds / 3)
    tetrad(folder, "scale", "rollout=2")
    await_ready(folder, "rollout-1")
    time.sleep(seconds / 3)
    tetrad(folder, "scale", "rollout=1")
    time.sleep(seconds / 3)
    return Span(begin + WARM_UP_S, time.time())


def await_ready(folder: Path, name: str) -> None:
    """Wait until a process does its work; raises TimeoutError."""
    deadline = time.monotonic() + COMMAND_DEADLINE_S
    while not any(row["ready"] == "yes" for row in rows(folder) if row["instance"]["name"] == name):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} was not ready within {COMMAND_DEADLINE_S:g} s")
        time.sleep(1.0)


def rows(folder: Path) -> list[dict[str, Any]]:
    """What `tetrad status` has of each process."""
    found: list[dict[str, Any]] = json.loads(tetrad(folder, "status", "--json"))["rows"]
    return found


def checked(prometheus: Prometheus, span: Span) -> tuple[list[str], dict[str, list[Drawn]]]:
    """Ask everything that the boards ask; return what is wrong, and the panels with their answers."""
    faults: list[str] = []
    drawn: dict[str, list[Drawn]] = {}
    for name, board in read_boards().items():
        drawn[name] = []
        for panel in panels_of(name, board):
            answer = answers(prometheus, panel, span)
            reason = EMPTY_ON_A_CPU.get((panel.board, panel.row), "")
            faults += faults_of(answer, may_be_empty=bool(reason))
            drawn[name].append(Drawn(panel, answer.lines, reason))
        for annotation in board["annotations"]["list"]:
            faults += _annotation_faults(prometheus, name, annotation, span)
    return faults, drawn


@dataclass(slots=True)
class Answer:
    """What a panel shows, and what is wrong with its queries."""

    lines: list[tuple[str, Line]] = field(default_factory=list)
    """With their legends."""
    errors: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def answers(prometheus: Prometheus, panel: Shown, span: Span) -> Answer:
    """Ask what a panel asks."""
    answer = Answer()
    for target in panel.targets:
        try:
            lines = prometheus.ask(target["expr"], run=RUN, begin=span.begin, end=span.end, step_s=STEP_S)
        except AskingError as error:
            answer.errors.append(f"{panel.name}: {error}")
            continue
        if not any(line.has_data for line in lines):
            answer.empty.append(f"{panel.name}: no data for {target['expr']}")
        answer.lines += [(legend(target["legendFormat"], line.labels), line) for line in lines]
    return answer


def faults_of(answer: Answer, *, may_be_empty: bool) -> list[str]:
    """What counts against a panel: a query that Prometheus refuses always does."""
    return answer.errors + ([] if may_be_empty else answer.empty)


def _annotation_faults(prometheus: Prometheus, name: str, annotation: Mapping[str, Any], span: Span) -> Sequence[str]:
    try:
        lines = prometheus.ask(annotation["expr"], run=RUN, begin=span.begin, end=span.end, step_s=STEP_S)
    except AskingError as error:
        return [f"{name} / {annotation['name']}: {error}"]
    return [] if lines else [f"{name} / {annotation['name']}: nothing happened, says {annotation['expr']}"]


def tetrad(folder: Path, *words: str) -> str:
    """Run a command of ours in a folder and return what it printed; raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "tetrad_cli", *words]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, timeout=COMMAND_DEADLINE_S, check=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
