import subprocess
import sys
import time

from process_tree import Watcher, command_of, parent_of, peak_bytes, proportional_bytes

MIB = 1 << 20
# A child that has a child; the grandchild touches 64 MiB, says so, and waits to be told to leave.
GRANDCHILD = "import sys; held = bytearray(64 << 20); print('ready', flush=True); sys.stdin.read()"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GRANDCHILD!r}])"


def test_the_memory_of_a_grandchild_is_seen():
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with Watcher(process.pid) as watcher:
            deadline = time.monotonic() + 20
            while watcher.peaks.of("bytearray(64") < 64 * MIB and time.monotonic() < deadline:
                process.poll()
        process.communicate()

    peaks = watcher.peaks
    assert len(peaks.resident) == 2
    assert max(peaks.resident.values()) > 64 * MIB
    assert peaks.total > max(peaks.resident.values())
    assert 64 * MIB < peaks.proportional < peaks.total


def test_a_process_that_is_gone_has_no_figures():
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()

    gone = process.pid
    assert (parent_of(gone), command_of(gone), peak_bytes(gone), proportional_bytes(gone)) == (0, "", 0, 0)
