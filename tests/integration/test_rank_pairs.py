"""Three real ranks meet in pairs; one that freezes is named with the rank that waited for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from integration.weight_site import a_free_port

PROGRAM = Path(__file__).with_name("rank_pairs_program.py")

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


@contextmanager
def ranks(word: str) -> Iterator[list["subprocess.Popen[str]"]]:
    port = str(a_free_port())
    command = [sys.executable, str(PROGRAM)]
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "3"}
    started = [
        subprocess.Popen([*command, str(rank), port, word], env=env, stdout=subprocess.PIPE, text=True)
        for rank in range(3)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=60)


def test_every_pair_is_measured():
    with ranks("well") as started:
        said = [rank.communicate(timeout=200)[0] for rank in started]

        assert said == ["[(0, 1), (0, 2), (1, 2)] True\n"] * 3


def test_a_pair_that_does_not_meet_in_time_is_named_and_nobody_waits_for_ever():
    with ranks("frozen") as started:
        said = [rank.communicate(timeout=200)[0] for rank in started[:2]]

        pair = "rank 0 (here, 127.0.0.1 on lo) and rank 2 (here, 127.0.0.1 on lo) do not exchange 4 MiB on cpu"
        assert pair in said[0]
        assert all("rank 2 of node 0 did not come within 12 s" in one for one in said)
        assert [rank.returncode for rank in started[:2]] == [72, 72]
