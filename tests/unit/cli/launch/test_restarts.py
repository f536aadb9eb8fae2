"""What follows the end of a process is decided by how it ended and how often."""

import pytest

from tetrad_cli.launch.restarts import CrashHistory, EndRun, Exit, GiveUp, Restart, RestartPolicy
from tetrad_runtime.exits import ExitCode

CRASH = Exit(-9, 1.0)


def a_history(*, ends_run=False, **policy):
    return CrashHistory(RestartPolicy(**policy), ends_run=ends_run)


def test_crashes_are_answered_with_growing_delays():
    history = a_history(max_crashes=9)

    verdicts = [history.after(CRASH, now=float(second)) for second in range(8)]

    assert verdicts == [Restart(delay) for delay in (0.5, 1, 2, 4, 8, 16, 30, 30)]


def test_a_healthy_life_starts_the_delays_anew():
    history = a_history(healthy_after_s=10.0)
    history.after(CRASH, now=0.0)
    history.after(CRASH, now=1.0)

    assert history.after(Exit(1, uptime_s=10.0), now=20.0) == Restart(0.5)


def test_too_many_crashes_in_the_window_are_given_up():
    history = a_history(max_crashes=3, window_s=60.0)

    verdicts = [history.after(CRASH, now=now) for now in (0.0, 1.0, 2.0)]

    assert verdicts[-1] == GiveUp("3 crashes within 60 s, last: killed by SIGKILL after 1.0 s")


def test_crashes_outside_the_window_do_not_count():
    history = a_history(max_crashes=3, window_s=60.0)

    verdicts = [history.after(CRASH, now=now) for now in (0.0, 50.0, 100.0, 150.0)]

    assert all(isinstance(verdict, Restart) for verdict in verdicts)


def test_a_clean_exit_is_a_reason_to_restart_too_but_not_in_a_hurry():
    assert a_history().after(Exit(0, 1.0), now=0.0) == Restart(20.0)


def test_a_wrong_configuration_is_given_up_at_once():
    assert isinstance(a_history().after(Exit(ExitCode.CONFIG, 1.0), now=0.0), GiveUp)


@pytest.mark.parametrize("code", [0, 2, ExitCode.DATA, ExitCode.ENGINE, ExitCode.CONFIG, ExitCode.DRAIN_TIMEOUT])
def test_the_learner_s_verdict_ends_the_run(code):
    verdict = a_history(ends_run=True).after(Exit(code, 1.0), now=0.0)

    assert isinstance(verdict, EndRun)
    assert verdict.code == code


@pytest.mark.parametrize("code", [-9, -11, 1, ExitCode.INTERNAL, ExitCode.PEER_LOST])
def test_the_learner_s_crash_is_repaired(code):
    assert a_history(ends_run=True).after(Exit(code, 1.0), now=0.0) == Restart(0.5)


def test_the_learner_s_crash_loop_ends_the_run_with_its_code():
    history = a_history(ends_run=True, max_crashes=1)

    assert history.after(CRASH, now=0.0) == EndRun(137, "1 crashes within 300 s, last: killed by SIGKILL after 1.0 s")
