"""One process group of two: the sender is rank 0, the receiver rank 1. Blocking; whoever waits for it kills it.

Made once, then used for one version after the other. With NCCL the bytes go from GPU to GPU, with gloo from host
memory to host memory; nothing else differs.
"""

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # torch exports without saying so

from tetrad_devices.facts import uuid_of
from tetrad_devices.groups.orders import Lines
from tetrad_weights.group_orders import Form, Formed, Phase
from tetrad_weights.group_sides import (
    GLOO,
    INTERFACE,
    NCCL,
    RECEIVER,
    SENDER,
    buckets,
    interface_towards,
    steering,
)
from tetrad_wire.messages.groups import GroupSide

SIZE: Final = 2
_PATTERN: Final = 251
"""Prime, so that no block of the test looks like the next one."""


class Group:
    """One side of a group."""

    def __init__(self, lines: Lines, *, backend: str, rank: int, device: torch.device) -> None:
        self._lines = lines
        self._backend = backend
        self._rank = rank
        self._device = device
        self._store: TCPStore | None = None
        self._bucket_bytes = 0

    def listen(self, *, timeout_s: float) -> int:
        """Open the store, on any free port; the sender's part."""
        self._lines.at(Phase.LISTEN)
        self._store = _store("0.0.0.0", 0, timeout_s=timeout_s, is_master=True)  # noqa: S104 - the other host's way in
        port: int = self._store.port
        return port

    def form(self, order: Form) -> Formed:
        """Make the group and prove it; raises whatever torch does where that fails."""
        began = time.monotonic()
        if self._store is None:
            self._store = self._connected(order)
        self._lines.at(Phase.RENDEZVOUS)
        for name in INTERFACE:
            os.environ.setdefault(name, interface_towards(order.host))
        dist.init_process_group(
            self._backend,
            store=PrefixStore(order.group, self._store),
            rank=self._rank,
            world_size=SIZE,
            timeout=timedelta(seconds=order.timeout_s),
            # At once, not with the first collective: then it is known which of them hangs.
            device_id=self._device if self._backend == NCCL else None,
        )
        self._bucket_bytes = order.bucket_bytes
        formed_s = time.monotonic() - began
        return Formed(seconds=formed_s, bytes_per_s=self._tested(order.test_bytes))

    def move(self, flat: Tensor) -> None:
        """Broadcast a version from the sender's memory into the receiver's, bucket by bucket."""
        parts = list(buckets(flat.numel(), self._bucket_bytes))
        for number, part in enumerate(parts, start=1):
            self.move_part(flat[part.start : part.end], number, len(parts))

    def move_part(self, part: Tensor, bucket: int, num_buckets: int) -> None:
        """Broadcast one bucket of a version; buckets are counted from 1."""
        self._lines.at(Phase.BUCKET, bucket, num_buckets)
        self._broadcast(part, source=SENDER)

    def _connected(self, order: Form) -> TCPStore:
        self._lines.at(Phase.CONNECT)
        # A plain connection first: its error says the reason.
        try:
            socket.create_connection((order.host, order.port), timeout=order.timeout_s).close()
        except OSError as error:
            raise ConnectionError(
                f"the sender waits at {order.host} port {order.port}, which cannot be reached from here: {error}; "
                "TETRAD_GROUP_HOST of the broadcaster is the address at which engines reach its host"
            ) from error
        return _store(order.host, order.port, timeout_s=order.timeout_s, is_master=False)

    def _tested(self, num_bytes: int) -> float:
        """Bytes per second of a small collective, after one each way that is checked."""
        self._lines.at(Phase.TEST)
        expected = (torch.arange(num_bytes, device=self._device) % _PATTERN).to(torch.uint8)
        for source in (SENDER, RECEIVER):
            found = expected.clone() if self._rank == source else torch.zeros_like(expected)
            self._broadcast(found, source=source)
            if not torch.equal(found, expected):
                raise RuntimeError(f"{num_bytes} bytes from rank {source} arrived changed")
        began = time.monotonic()
        self._broadcast(expected, source=SENDER)
        # Back again, so that the clock stops when the other side has everything.
        self._broadcast(expected, source=RECEIVER)
        return 2 * num_bytes / (time.monotonic() - began)

    def _broadcast(self, part: Tensor, *, source: int) -> None:
        dist.broadcast(part, source)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()


def side_of(backend: str, environ: dict[str, str], device: torch.device) -> GroupSide:
    """What this process brings into a group."""
    versions = {"torch": str(torch.__version__)}
    if backend == NCCL:
        versions["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
    gpu = uuid_of(device) if backend == NCCL else ""
    return GroupSide(backend=backend, gpu=gpu, versions=versions, environment=steering(environ))


def device_of(backend: str, gpu: str, index_of: Callable[[str], int]) -> torch.device:
    """The device that a backend moves bytes of; on a GPU the named one, or the first visible."""
    if backend == GLOO:
        return torch.device("cpu")
    if not torch.cuda.is_available() or not dist.is_nccl_available():
        raise RuntimeError("nccl needs a GPU and a torch built for it; torch.cuda.is_available() is false here")
    device = torch.device("cuda", index_of(gpu) if gpu else 0)
    torch.cuda.set_device(device)
    return device


def _store(host: str, port: int, *, timeout_s: float, is_master: bool) -> TCPStore:
    return TCPStore(host, port, is_master=is_master, timeout=timedelta(seconds=timeout_s), wait_for_workers=False)
