"""A run directory has one holder, and everybody can see who."""

import os
import subprocess
import sys

import pytest

from tetrad_cli.launch.claim import claim, holder_of
from tetrad_cli.launch.proc import start_ticks
from tetrad_runtime.exits import RunBusy

HOLDER = """
import sys, time
from pathlib import Path
from tetrad_cli.launch.claim import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_holder_is_known_while_it_holds(tmp_path):
    assert holder_of(tmp_path) is None

    with claim(tmp_path):
        holder = holder_of(tmp_path)

    assert holder is not None
    assert (holder.pid, holder.ticks) == (os.getpid(), start_ticks(os.getpid()))
    assert holder_of(tmp_path) is None


def test_a_second_claim_is_refused_with_the_holder_s_pid_and_the_way_out(tmp_path):
    says = rf"in use by pid {os.getpid()}; stop .*`tetrad down --run-dir"
    with claim(tmp_path), pytest.raises(RunBusy, match=says), claim(tmp_path):
        pass


def test_kill_9_of_the_holder_frees_the_directory(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    held = holder_of(tmp_path)

    process.kill()
    process.communicate(timeout=10)

    assert held.pid == process.pid
    with claim(tmp_path):
        assert holder_of(tmp_path).pid == os.getpid()
