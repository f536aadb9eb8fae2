"""Two network namespaces joined by a cable, as two hosts: their own loopback, addresses and interfaces, one disk."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkHost:
    """One end of the cable."""

    namespace: str
    interface: str
    address: str

    def command(self, *words: str) -> list[str]:
        """The command line that runs a program on this host."""
        return ["ip", "netns", "exec", self.namespace, *words]


class NoNamespacesError(Exception):
    """This machine gives us no network namespaces; the text says why."""


def run(*words: str) -> None:
    """Run a command; raise NoNamespacesError with what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError as error:
        raise NoNamespacesError(f"{words[0]} is not installed (iproute2)") from error
    if done.returncode:
        raise NoNamespacesError(f"{' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def two_hosts() -> Iterator[tuple[NetworkHost, NetworkHost]]:
    """Make both, and remove them afterwards; raise NoNamespacesError where they cannot be made."""
    mark = f"{os.getpid() % 100000}"
    hosts = tuple(
        NetworkHost(namespace=f"tetrad-{side}-{mark}", interface=f"tt{side}{mark}", address=f"10.213.77.{number}")
        for number, side in ((1, "a"), (2, "b"))
    )
    try:
        _make(hosts)
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True, timeout=20, check=False)


def _make(hosts: Sequence[NetworkHost]) -> None:
    head, other = hosts
    for host in hosts:
        run("ip", "netns", "add", host.namespace)
    run(
        "ip",
        "-n",
        head.namespace,
        "link",
        "add",
        head.interface,
        "type",
        "veth",
        "peer",
        "name",
        other.interface,
        "netns",
        other.namespace,
    )
    for host in hosts:
        run("ip", "-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", host.interface)
        run("ip", "-n", host.namespace, "link", "set", host.interface, "up")
        run("ip", "-n", host.namespace, "link", "set", "lo", "up")
