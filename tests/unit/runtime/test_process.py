"""How a service process ends: by itself, by signal, by fault, and never not at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_runtime.exits import ExitCode

PROGRAM = Path(__file__).with_name("service_program.py")
DEADLINE_S = 20


def start(behaviour, *, drain_s=5, grace_s=5):
    command = [sys.executable, str(PROGRAM), behaviour, str(drain_s), str(grace_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_up(process):
    assert process.stdout.readline() == "up\n"


def ended(process):
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_exit_code_is_ok(number):
    process = start("polite")
    wait_until_up(process)

    process.send_signal(number)

    code, out, err = ended(process)
    assert (code, out) == (0, "drained\n")
    assert json.loads(err.splitlines()[0])["event"] == "drain_started"


def test_a_drain_that_takes_too_long_has_its_own_code():
    process = start("deaf", drain_s=0.1)
    wait_until_up(process)

    process.terminate()

    assert ended(process)[0] == ExitCode.DRAIN_TIMEOUT


def test_a_second_signal_does_not_wait_for_the_deadline():
    process = start("deaf", drain_s=60)
    wait_until_up(process)

    process.terminate()
    assert "drain_started" in process.stderr.readline()
    process.terminate()

    assert ended(process)[0] == ExitCode.DRAIN_TIMEOUT


def test_a_blocked_event_loop_cannot_keep_the_process():
    process = start("blocked", drain_s=0.1, grace_s=0.2)
    wait_until_up(process)

    process.terminate()

    code, _, err = ended(process)
    assert code == ExitCode.DRAIN_TIMEOUT
    assert "ending without further clean-up" in err
    assert "service_program.py" in err


def test_a_stuck_thread_cannot_keep_the_process():
    code, _, err = ended(start("stuck_thread", grace_s=0.2))

    assert code == ExitCode.DATA
    assert "ending without further clean-up" in err


def test_the_code_that_the_service_returns_is_the_exit_code():
    assert ended(start("code"))[0] == ExitCode.DATA


@pytest.mark.parametrize("behaviour", ["fault", "group"])
def test_a_fault_ends_with_its_code_and_its_message_alone(behaviour):
    code, _, err = ended(start(behaviour))

    words = json.loads(err.splitlines()[-1])
    assert code == ExitCode.ENGINE
    assert (words["event"], words["level"], words["blame"]) == ("service_failed", "critical", "the inference engine")


def test_a_bug_leaves_a_traceback_as_its_last_words():
    code, _, err = ended(start("bug"))

    words = json.loads(err.splitlines()[-1])
    assert code == ExitCode.INTERNAL
    assert words["exception"][0]["exc_type"] == "KeyError"


def test_sigusr1_shows_what_every_thread_does():
    process = start("polite")
    wait_until_up(process)

    os.kill(process.pid, signal.SIGUSR1)
    assert "most recent call first" in process.stderr.readline()

    process.terminate()
    assert ended(process)[0] == 0
