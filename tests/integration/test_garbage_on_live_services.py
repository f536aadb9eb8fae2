"""Malformed, oversized, truncated and foreign frames at every bound socket of a live run: counted, dropped, no harm."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.run_under_test import RunUnderTest

from tetrad_testing.fuzz import throw_garbage

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

BOUND = ("learner", "reward-0", "broadcaster")
COUNT = 300


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunUnderTest]:
    run = RunUnderTest(tmp_path / "run", grade_s=0.3)
    yield run.start()
    run.stop()


def test_garbage_is_counted_and_dropped_and_the_run_ends_well(run: RunUnderTest) -> None:
    run.until(lambda: run.filled() > 0, "the first sample")

    for seed, name in enumerate(BOUND):
        thrown = throw_garbage(_endpoint(run, name), COUNT, seed)
        run.until(lambda n=name: _dropped(run, n) > 0, f"{name} counts what it dropped", timeout_s=20)
        assert sum(thrown.values()) >= COUNT
        assert run.instance(name).restarts == 0

    assert run.finish() == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()


def _endpoint(run: RunUnderTest, name: str) -> str:
    environment = Path(f"/proc/{run.instance(name).pid}/environ").read_bytes().split(b"\0")
    return next(entry for entry in environment if entry.startswith(b"TETRAD_BIND=")).decode().partition("=")[2]


def _dropped(run: RunUnderTest, name: str) -> float:
    url = f"http://127.0.0.1:{run.instance(name).port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as page:
        lines = page.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("tetrad_zmq_decode_failures_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts)
