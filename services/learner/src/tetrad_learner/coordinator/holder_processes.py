"""Processes of colocated engines, named so that their death can be seen from here."""

import socket

from tetrad_weights.owners import Process, is_alive
from tetrad_wire.messages.membership import Hello


def process_of(hello: Hello) -> str:
    """Name the process that said Hello: host, pid and start time; empty where it shares no GPU with the learner."""
    if hello.rollout is None or not hello.rollout.is_colocated:
        return ""
    return f"{hello.host}/{hello.pid}/{hello.rollout.started}"


def is_here(process: str) -> bool:
    """Whether it runs on this host, so that we can look."""
    return process.rpartition("/")[0].rpartition("/")[0] == socket.gethostname()


def is_dead(process: str) -> bool:
    """Whether a process of this host is gone beyond doubt; of another host nothing is known."""
    _host, pid, started = process.rsplit("/", 2)
    return is_here(process) and not is_alive(Process(int(pid), int(started)))
