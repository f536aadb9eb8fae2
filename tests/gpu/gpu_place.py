"""A learner whose versions lie on GPU 0, for tests of what the broadcaster does with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from integration.weight_site import LARGE, SOON_S, Engine, Site

from tetrad_devices.digest import sum64
from tetrad_devices.ring import DeviceRing
from tetrad_learner.publishing import Published
from tetrad_weights.digest import DigestAlgorithm
from tetrad_weights.manifest import from_digests
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import DeviceHandle, Manifest


@dataclass(frozen=True)
class Copy:
    """A version in this process's memory on GPU 0, for the broadcaster's own copy."""

    manifest: Manifest
    relay: DeviceHandle
    handles: tuple[DeviceHandle, ...] = ()
    fill_s: float = 0.0
    digest_s: float = 0.0


class GpuPlace:
    """The learner on GPU 0, every engine on GPU 1."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._ring = DeviceRing(device=torch.device("cuda", 0), run=site.folder.name, incarnation="learner")
        self._newest: Copy | None = None
        site.stack.callback(self._ring.close)

    async def start(
        self,
        name: str,
        *,
        transports: str = "nccl",
        timeout_s: float = SOON_S,
        variables: Mapping[str, str] | None = None,
    ) -> Engine:
        there = {"CUDA_VISIBLE_DEVICES": "1", "ON_GPU": "1", **(variables or {})}
        return await self.site.start_engine(name, transports=transports, timeout_s=timeout_s, variables=there)

    async def publish(self, version: int) -> Published:
        pinned = {self._newest.relay.gate.name} if self._newest else set()
        segment = self._ring.take(LARGE.num_bytes, pinned=pinned)
        generator = torch.Generator(device=segment.buffer.device).manual_seed(version)
        segment.buffer.random_(0, 256, generator=generator)
        digests = sum64([segment.buffer[spec.offset : spec.offset + spec.num_bytes] for spec in LARGE.tensors])
        segment.end_writing()
        manifest = from_digests(LARGE, digests, algorithm=DigestAlgorithm.SUM64)
        self._newest = Copy(manifest=manifest, relay=segment.handle())
        return await self.site.publisher.publish(
            version=PolicyVersion(version), step=version, layout=LARGE, fill=None, copy=self._newest
        )
