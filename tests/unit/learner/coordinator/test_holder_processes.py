import os
import socket
import subprocess
import sys

from tetrad_learner.coordinator.holder_processes import is_dead, is_here, process_of
from tetrad_testing.builders import a_hello, a_rollout_offer
from tetrad_weights.owners import this_process


def hello_of(pid: int, started: int, *, host: str | None = None, is_colocated: bool = True) -> str:
    offer = a_rollout_offer(is_colocated=is_colocated, started=started)
    return process_of(a_hello(host=host or socket.gethostname(), pid=pid, rollout=offer))


def test_a_living_process_is_not_dead() -> None:
    assert not is_dead(hello_of(os.getpid(), this_process().started))


def test_another_start_under_the_same_pid_is_another_process() -> None:
    assert is_dead(hello_of(os.getpid(), this_process().started - 1))


def test_a_process_that_has_ended_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert is_dead(hello_of(child.pid, 1))


def test_nothing_is_known_of_a_process_elsewhere() -> None:
    process = hello_of(1, 1, host="another/host")

    assert not is_here(process)
    assert not is_dead(process)


def test_a_replica_with_a_gpu_of_its_own_has_no_name_here() -> None:
    assert hello_of(1, 1, is_colocated=False) == ""
