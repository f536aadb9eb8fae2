"""The page of state machines shows each table of the code, whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_learner.coordinator.core.tables import LEASE, RUN, SLOT, STEP
from tetrad_reward import episodes
from tetrad_rollout.engine import weight_state

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "state-machines.md"


def test_the_page_is_current():
    command = [sys.executable, str(ROOT / "tools" / "make_state_reference.py"), "--check"]

    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("title", "transitions"), [("Run", RUN), ("Step", STEP), ("Slot", SLOT), ("Lease", LEASE)], ids=lambda x: str(x)[:5]
)
def test_every_transition_is_drawn_and_no_other(title, transitions):
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", section(title), re.MULTILINE))

    assert drawn == {(before.value, after.value) for before, afters in transitions.items() for after in afters}


@pytest.mark.parametrize(
    ("title", "module"), [("Weights of an engine", weight_state), ("Episode", episodes)], ids=["weights", "episode"]
)
def test_every_event_is_drawn_and_no_other(title, module):
    lines = re.findall(r"^    (\w+) --> (\w+): (.+)$", section(title), re.MULTILINE)

    drawn = {(before, event, after) for before, after, events in lines for event in events.split(", ")}

    assert drawn == {(state.value, event.value, after.value) for (state, event), after in module.TRANSITIONS.items()}


def section(title: str) -> str:
    page = PAGE.read_text(encoding="utf-8")
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
