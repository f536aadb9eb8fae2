"""Runs that clean up after themselves, and the undisturbed run that the others are compared with."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.run_under_test import MakeRun, RunUnderTest


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[MakeRun]:
    """Makes runs in folders of their own and ends them with the test."""
    runs: list[RunUnderTest] = []

    def make(*overrides: str, grade_s: float = 0.0) -> RunUnderTest:
        run = RunUnderTest(tmp_path / f"run{len(runs)}", *overrides, grade_s=grade_s)
        runs.append(run)
        return run

    yield make
    for run in runs:
        run.stop()


@pytest.fixture(scope="session")
def calm_run(tmp_path_factory: pytest.TempPathFactory) -> RunUnderTest:
    """A run that nobody hurt, ended and checked; made once, by whichever test process comes first."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    run = RunUnderTest(shared / "calm")
    with (shared / "calm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not run.has_ended_well():
            _run_undisturbed(run)
    return run


@pytest.fixture(scope="session")
def calm_weights(calm_run: RunUnderTest) -> bytes:
    """The final weights of the undisturbed run."""
    return calm_run.weights()


def _run_undisturbed(run: RunUnderTest) -> None:
    try:
        assert run.start().finish() == 0, run.last_words()
        run.check_fates()
        run.check_nothing_is_left()
    finally:
        run.stop()
