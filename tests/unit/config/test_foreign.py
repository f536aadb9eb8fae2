"""Functions of others are tried where they can do no harm, before anything starts."""

import subprocess
import sys

import pytest

from tetrad_config import probe_machine
from tetrad_config.foreign import functions_of_others, unusable

ESTIMATOR = "trainer.algorithm.advantage_estimator"
REDUCTION = "trainer.algorithm.loss_reduction"
MODULE = """
import atexit

print("a line of its own")
atexit.register(print, "and a last one")

def best(outcomes, options):
    return 1.0

def by_turn(counts):
    return 1.0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


def test_names_of_ours_are_nobody_elses(load_run):
    assert functions_of_others(load_run("trainer.algorithm.advantage_estimator=rloo").config) == {}


def test_functions_in_the_folder_of_the_run_can_be_used(load_run, folder):
    config = load_run(f"{ESTIMATOR}=mine:best", f"{REDUCTION}=mine:by_turn").config

    assert functions_of_others(config) == {ESTIMATOR: "mine:best", REDUCTION: "mine:by_turn"}
    assert probe_machine(config, {}).unusable == {}
    assert "mine" not in sys.modules


@pytest.mark.usefixtures("folder")
def test_each_function_that_cannot_be_used_has_its_reason():
    found = unusable({ESTIMATOR: "mine:bets", REDUCTION: "yours:by_turn"})

    assert found[ESTIMATOR] == "module mine has no 'bets'; did you mean 'best'?"
    assert found[REDUCTION].startswith("no module 'yours'")


@pytest.mark.usefixtures("folder")
def test_a_function_with_other_parameters_is_refused():
    assert "it is called with (counts)" in unusable({REDUCTION: "mine:best"})[REDUCTION]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no licence')", "importing it raised RuntimeError: no licence"),
        ("import sys; sys.exit('not today')", "importing it ended the process with code 1: not today"),
        ("import os; os._exit(3)", "importing it ended the process with code 3: nothing"),
    ],
)
def test_a_module_that_breaks_breaks_nobody_else(folder, code, reason):
    (folder / "bad.py").write_text(code)

    assert unusable({ESTIMATOR: "bad:best"}) == {ESTIMATOR: reason}


def test_reading_and_checking_a_run_file_imports_no_torch(folder):
    (folder / "mine.py").write_text(f"import torch\n{MODULE}")
    program = (
        "import sys; from tetrad_config import load, probe_machine; "
        f"config = load(['+experiment=demo', '{ESTIMATOR}=mine:best'], environ={{}}).config; "
        "print(probe_machine(config, {}).unusable, 'torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.strip() == "{} False", done.stderr
