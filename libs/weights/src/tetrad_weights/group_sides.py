"""What the two sides of a process group must have in common, and where a version is cut for it. Pure.

Sides that differ hang in their first collective or give wrong bytes; so they are compared before there is a group.
"""

import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_wire.messages.groups import GroupSide

NCCL: Final = "nccl"
GLOO: Final = "gloo"
SENDER: Final = 0
"""The broadcaster's rank in a group."""
RECEIVER: Final = 1
"""An engine's."""

BUCKET_BYTES: Final = 512 << 20
"""Large enough that a collective runs at the link's rate, small enough that a broken one is named closely."""
HOST_BUCKET_BYTES: Final = 16 << 20
"""With gloo more gains nothing, and an engine without room for a version needs memory for a bucket."""

FORCED: Final[Mapping[str, str]] = {"NCCL_CUMEM_ENABLE": "0", "NCCL_NVLS_ENABLE": "0"}
"""Without these the first broadcast into or out of memory of another process fails with `invalid argument`."""
INTERFACE: Final = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Where the user names none, the interface that leads to the sender is."""
_STEERING: Final = re.compile(r"(NCCL|GLOO|TORCH_NCCL)_[A-Z0-9_]+")
# Names of a host's own devices, and what changes no collective.
_OWN: Final = re.compile(r"(NCCL|GLOO)_SOCKET_IFNAME|NCCL_(IB_HCA|IB_GID_INDEX|TOPO_FILE|DEBUG[A-Z_]*|CONF_FILE)")
_SIOCGIFADDR: Final = 0x8915
_INTERFACE_NAME_BYTES: Final = 15


@dataclass(frozen=True, slots=True)
class Bucket:
    """One collective's part of the flat layout."""

    start: int
    end: int
    """Bytes from the start of the layout."""


def buckets(num_bytes: int, bucket_bytes: int) -> Iterator[Bucket]:
    """Cut a layout.

    >>> [(bucket.start, bucket.end) for bucket in buckets(10, 4)]
    [(0, 4), (4, 8), (8, 10)]
    """
    for start in range(0, num_bytes, bucket_bytes):
        yield Bucket(start, min(start + bucket_bytes, num_bytes))


def steering(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that both sides must agree on.

    >>> steering({"NCCL_PROTO": "LL", "NCCL_SOCKET_IFNAME": "eth0", "PATH": "/bin"})
    {'NCCL_PROTO': 'LL'}
    """
    return {name: environ[name] for name in sorted(environ) if _STEERING.fullmatch(name) and not _OWN.fullmatch(name)}


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a sender or receiver starts with: ours, and what we force."""
    # One thread: it copies and waits, and the cores are the engine's.
    return {"OMP_NUM_THREADS": "1", **environ, **FORCED}


def overridden(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's variables that are not obeyed.

    >>> overridden({"NCCL_CUMEM_ENABLE": "1", "NCCL_NVLS_ENABLE": "0"})
    {'NCCL_CUMEM_ENABLE': '1'}
    """
    return {name: environ[name] for name, ours in FORCED.items() if environ.get(name, ours) != ours}


def difference(sender: GroupSide, receiver: GroupSide) -> str:
    """In what the two sides differ, with both values; empty where a group of them would work.

    >>> difference(GroupSide(backend="gloo"), GroupSide(backend="gloo", environment={"NCCL_ALGO": "Ring"}))
    'NCCL_ALGO is unset at the sender and Ring at the receiver'
    """
    if sender.backend != receiver.backend:
        return f"backend is {sender.backend} at the sender and {receiver.backend} at the receiver"
    if sender.gpu and sender.gpu == receiver.gpu:
        return f"both sides are on GPU {sender.gpu}; NCCL needs one for each: use cuda_ipc there"
    found = [
        f"{name} is {ours.get(name, 'unset')} at the sender and {theirs.get(name, 'unset')} at the receiver"
        for ours, theirs in ((sender.versions, receiver.versions), (sender.environment, receiver.environment))
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    return "; ".join(found)


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded here; no CUDA context is made, and torch is not asked."""
    return Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != ""


def interface_towards(host: str) -> str:
    """Name of the interface by which this host reaches another (or itself); empty where none can be told."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # A datagram socket sends nothing when it connects; it only looks up the route.
            probe.connect((host, 9))
            address = probe.getsockname()[0]
            return next((name for _, name in socket.if_nameindex() if _address(probe, name) == address), "")
    except OSError:
        return ""


def _address(probe: socket.socket, interface: str) -> str:
    request = struct.pack("256s", os.fsencode(interface)[:_INTERFACE_NAME_BYTES])
    try:
        return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24])
    except OSError:  # it has no IPv4 address
        return ""
