"""Promises of the sweep, with real processes that are killed."""

import subprocess
import sys

import pytest

from tetrad_weights.attachments import attach
from tetrad_weights.owners import Process, is_alive, this_process
from tetrad_weights.segments import DIRECTORY, Segment, segment_name
from tetrad_weights.sweeping import sweep
from tetrad_wire.messages.weights import SegmentHandle

EXPORTER = """
import sys
from tetrad_weights.segments import Segment
segment = Segment(sys.argv[1], 10)
segment.payload[:] = 5
if sys.argv[2] == "written":
    segment.end_writing()
print(segment.handle.nonce, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def export(run):
    started: list[subprocess.Popen[str]] = []

    def export(state: str = "written") -> tuple[subprocess.Popen[str], SegmentHandle]:
        name = segment_name(run=run, incarnation="exporter", ordinal=len(started))
        process = subprocess.Popen(
            [sys.executable, "-c", EXPORTER, name, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, SegmentHandle(name=name, num_bytes=10, nonce=process.stdout.readline().strip())

    yield export
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(timeout=10)


@pytest.mark.parametrize("state", ["written", "being written"])
def test_the_segment_of_a_killed_exporter_goes(run, export, state):
    process, handle = export(state)
    kill(process)

    assert sweep(run) == (handle.name,)
    assert not (DIRECTORY / handle.name).exists()


def test_the_segment_of_a_living_exporter_stays(run, export):
    _process, handle = export()

    assert sweep(run) == ()
    attach(handle).close()
    (DIRECTORY / handle.name).unlink()


def test_a_dead_exporter_s_segment_stays_while_it_is_read_and_goes_after(run, export):
    process, handle = export()
    with attach(handle) as attachment:
        kill(process)

        assert sweep(run) == ()
        assert attachment.payload.sum() == 50

    assert sweep(run) == (handle.name,)


def test_a_sweep_of_one_run_leaves_the_others_alone(run, export):
    process, handle = export()
    kill(process)

    assert sweep(f"{run}-other") == ()
    assert handle.name in sweep()


def test_a_file_whose_maker_died_before_its_header_goes(run):
    path = DIRECTORY / segment_name(run=run, incarnation="died", ordinal=0)
    path.write_bytes(b"")

    assert sweep(run) == (path.name,)


def test_our_own_segment_stays_even_while_nobody_reads_it(run):
    segment = Segment(segment_name(run=run, incarnation="own", ordinal=0), 10)
    segment.end_writing()

    assert sweep(run) == ()
    segment.close()


def test_a_pid_that_was_given_to_another_process_is_not_the_owner():
    us = this_process()

    assert is_alive(us)
    assert not is_alive(Process(us.pid, us.started - 1))


def test_a_zombie_is_dead(export):
    process, _handle = export()
    stat = (DIRECTORY.parent.parent / "proc" / str(process.pid) / "stat").read_text()
    owner = Process(process.pid, int(stat.rpartition(")")[2].split()[19]))
    assert is_alive(owner)

    process.kill()
    with open(f"/proc/{process.pid}/stat") as file:
        while file.seek(0) or " Z " not in file.read():
            pass

    assert not is_alive(owner)
    (DIRECTORY / _handle.name).unlink()
