"""The versions that can be served: the newest, and the one before it for whoever is still on its way. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import Canary, DeviceHandle, Manifest, SegmentHandle

# An evaluation may hold engines on the previous version while the next one is already here.
KEPT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One version in a segment of ours, verified."""

    version: PolicyVersion
    step: int
    manifest: Manifest
    segment: SegmentHandle | None
    """In host memory; None where it lies on GPUs only."""
    devices: tuple[DeviceHandle, ...] = ()
    """In the ranks' own memory on their GPUs, passed on as it came."""
    canary: Canary | None = None
    """Passed on as it came."""
    relay_gpu: str = ""
    """UUID of the GPU that a copy of ours lies on; empty without one."""


class VersionConflictError(ValueError):
    """A version was offered that cannot follow what is held: versions never repeat or decrease."""


class Shelf:
    """Holds the newest versions, at most `KEPT`."""

    def __init__(self) -> None:
        self._held: dict[PolicyVersion, Held] = {}

    @property
    def holds(self) -> tuple[PolicyVersion, ...]:
        """The versions, ascending."""
        return tuple(self._held)

    @property
    def newest(self) -> Held | None:
        """The newest version; None before the first."""
        return self._held[self.holds[-1]] if self._held else None

    def get(self, version: PolicyVersion) -> Held | None:
        """Return a version if it is here."""
        return self._held.get(version)

    def find(self, version: PolicyVersion, digest: str) -> Held | None:
        """Return exactly this if it is here already; raise VersionConflictError if it could never be taken."""
        held = self._held.get(version)
        if held is not None and held.manifest.digest != digest:
            raise VersionConflictError(
                f"version {version} is held with digest {held.manifest.digest}; it was offered again with {digest}"
            )
        if held is None and self.newest is not None and version < self.newest.version:
            raise VersionConflictError(f"version {version} was offered after version {self.newest.version}")
        return held

    def put(self, held: Held) -> None:
        """Add the newest version; the oldest goes where there are too many."""
        self._held[held.version] = held
        while len(self._held) > KEPT:
            del self._held[self.holds[0]]

    def replace(self, held: Held, *, segment: SegmentHandle) -> None:
        """The same version lies in host memory too by now."""
        if self._held.get(held.version) is held:
            self._held[held.version] = replace(held, segment=segment)

    def segments(self) -> set[str]:
        """Names of the segments that the held versions lie in."""
        return {held.segment.name for held in self._held.values() if held.segment}

    def make_way(self, *, pinned: Collection[str]) -> None:
        """Forget all but the newest and those in pinned segments: their segments are about to be written."""
        newest = self.newest
        self._held = {
            version: held
            for version, held in self._held.items()
            if held is newest or (held.segment is not None and held.segment.name in pinned)
        }
