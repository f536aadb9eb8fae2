"""A version in the GPU memory of each rank, for the engines on those GPUs.

Owns the buffers. Collective: all ranks fill theirs, digest it where it lies, and agree on the digests; rank 0 gets
the handles of all.
"""

from dataclasses import dataclass

import msgspec
import torch

from tetrad_devices.digest import SumTable
from tetrad_devices.ring import DeviceRing, DeviceSegment
from tetrad_learner.rank.exports import Exports
from tetrad_learner.trainer.errors import RankDisagreementError
from tetrad_learner.trainer.export import window
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.stopwatch import Stopwatch
from tetrad_weights.digest import DigestAlgorithm
from tetrad_weights.errors import SegmentsBusyError, WeightsError
from tetrad_weights.layout import Layout
from tetrad_weights.manifest import from_digests
from tetrad_weights.ring import LIMIT
from tetrad_wire.messages.weights import DeviceHandle, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCopy:
    """One version, as rank 0 offers it."""

    manifest: Manifest
    handles: tuple[DeviceHandle, ...]
    """One for each rank's GPU, for one engine there; none where no engine is on a rank's GPU."""
    relay: DeviceHandle | None
    """Of rank 0's memory, for the broadcaster's own copy; None where no engine is on another GPU."""
    fill_s: float
    """Gathering and converting, until the GPU is done."""
    digest_s: float


class DeviceCopies:
    """The buffers of one rank."""

    def __init__(
        self, ranks: Ranks, *, run: str, incarnation: str, has_neighbours: bool = True, is_relayed: bool = False
    ) -> None:
        """Engines are neighbours on the ranks' GPUs, or on others, whereto the broadcaster relays; or both."""
        self._ranks = ranks
        self._has_neighbours = has_neighbours
        self._is_relayed = is_relayed
        self._ring = DeviceRing(device=ranks.device, run=run, incarnation=incarnation)
        self._newest = ""
        self._tables: dict[int, SumTable] = {}

    def make(self, exports: Exports) -> DeviceCopy:
        """Fill a buffer on each rank with what is published.

        Raises:
            SegmentsBusyError: engines still read all buffers that there may be.
            RankDisagreementError: the ranks hold different bytes.
        """
        layout, watch = exports.layout, Stopwatch(self._ranks.device)
        adapter = exports.adapter(DigestAlgorithm.SUM64)
        segment = self._taken(layout.num_bytes)
        try:
            with watch.phase("fill"):
                exports.fill_on_device(segment.buffer)
            with watch.phase("digest"):
                digests = self._table(segment.buffer, layout).digests()
        finally:
            segment.end_writing()
        self._newest = segment.name
        manifest = from_digests(layout, digests, algorithm=DigestAlgorithm.SUM64, adapter=adapter)
        # Also where none is handed on: it is by this that the ranks agree.
        handles = agreed_handles(segment.handle(), manifest.digest, self._ranks)
        return DeviceCopy(
            manifest=manifest,
            handles=handles if self._has_neighbours else (),
            relay=segment.handle() if self._is_relayed and self._ranks.is_first else None,
            fill_s=watch.seconds()["fill"],
            digest_s=watch.seconds()["digest"],
        )

    def _taken(self, num_bytes: int) -> DeviceSegment:
        """A buffer on every rank or on none: a rank without one would leave the others waiting for it."""
        segment, failure = None, None
        try:
            segment = self._ring.take(num_bytes, pinned={self._newest})
        except WeightsError as error:
            failure = error
        num_without = int(self._ranks.sum(torch.tensor([int(segment is None)])).item())
        if segment is not None and num_without == 0:
            return segment
        if segment is not None:
            segment.end_writing()
        raise failure or SegmentsBusyError(busy=[f"some on {num_without} other ranks"], limit=LIMIT)

    def close(self) -> None:
        """Free the buffers."""
        self._ring.close()

    def _table(self, buffer: torch.Tensor, layout: Layout) -> SumTable:
        key = buffer.data_ptr()
        if key not in self._tables:
            self._tables[key] = SumTable([window(buffer, spec) for spec in layout.tensors])
        return self._tables[key]


def agreed_handles(handle: DeviceHandle, digest: str, ranks: Ranks) -> tuple[DeviceHandle, ...]:
    """The handles of all ranks, in their order, once they agree on the bytes; collective.

    Raises:
        RankDisagreementError: on every rank, naming one whose digest is another.
    """
    mine = msgspec.json.encode((digest, handle))
    lengths = ranks.gather(torch.tensor([len(mine)])).tolist()
    joined = bytes(ranks.gather(torch.frombuffer(bytearray(mine), dtype=torch.uint8)).tolist())
    handles, others, start = [], [], 0
    for rank, length in enumerate(lengths):
        theirs, found = msgspec.json.decode(joined[start : start + length], type=tuple[str, DeviceHandle])
        if theirs != digest:
            others.append(f"rank {rank} exported digest {theirs}, rank {ranks.rank} {digest}")
        handles.append(found)
        start += length
    # The odd one out sees that all others differ, and they see it: so all of them stop.
    if others:
        raise RankDisagreementError("; ".join(others))
    return tuple(handles)
