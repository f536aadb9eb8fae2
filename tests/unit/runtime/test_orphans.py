"""A child goes when its parent does."""

import os
import signal
import subprocess
import sys
import time

PARENT = """
import signal, subprocess, sys, time
from tetrad_runtime.orphans import die_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                         preexec_fn=die_with_parent(signal.SIGKILL))
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_kill_9_of_a_parent_takes_its_child_along():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert is_alive(child)

    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=10)

    end = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < end, os.getpid()
        time.sleep(0.01)
