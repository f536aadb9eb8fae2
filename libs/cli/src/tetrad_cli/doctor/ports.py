"""Ports on the loopback address, for metrics, and the folder of sockets, for everything else."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.launch.runtime_dir import base_dir

RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
# One for each process, with room for the connections of everybody else.
MIN_PORTS: Final = 1000


def check(patient: Patient, range_file: Path = RANGE) -> Iterator[Finding]:
    """Whether a port can be had, and sockets can be made."""
    yield _ports(range_file)
    yield _sockets(base_dir(patient.environ))


def _ports(range_file: Path) -> Finding:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError as error:
        return Finding(Verdict.BAD, "ports", f"none on 127.0.0.1: {error}", "bring the interface up: ip link set lo up")
    first, last = (int(word) for word in range_file.read_text().split())
    detail = f"{last - first + 1} to choose from, {first} to {last}"
    if last - first + 1 >= MIN_PORTS:
        return Finding(Verdict.GOOD, "ports", detail)
    return Finding(Verdict.NOTE, "ports", detail, "sysctl -w net.ipv4.ip_local_port_range='32768 60999'")


def _sockets(folder: Path) -> Finding:
    place = folder if folder.exists() else folder.parent
    if os.access(place, os.W_OK) and (not folder.exists() or folder.stat().st_uid == os.getuid()):
        return Finding(Verdict.GOOD, "sockets", f"in {folder}")
    return Finding(Verdict.BAD, "sockets", f"{place} may not be written to", "set XDG_RUNTIME_DIR to a folder of yours")
