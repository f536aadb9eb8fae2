"""Processes are told apart by pid and start, and found by the mark in their environment."""

import os
import subprocess
import sys

from tetrad_cli.launch.proc import marked, start_ticks


def test_a_live_process_has_a_start_and_a_dead_or_unreaped_one_has_none():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = start_ticks(child.pid)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = start_ticks(child.pid)
    child.wait(10)

    assert (alive > 0, zombie, start_ticks(child.pid)) == (True, None, None)


def test_only_processes_that_carry_all_marks_are_found():
    env = {**os.environ, "_MARK_A": "1", "_MARK_B": "2"}
    child = subprocess.Popen([sys.executable, "-c", "print(); input()"], stdin=-1, stdout=-1, env=env)
    child.stdout.readline()

    found = marked(_MARK_A="1", _MARK_B="2"), marked(_MARK_A="1", _MARK_B="3")
    child.communicate(timeout=10)

    assert found == ([child.pid], [])
