"""Weights over NCCL from GPU 0 to GPU 1: what is tested over gloo on a CPU, with the same processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from integration import group_scenarios
from integration.group_scenarios import QUICK_S
from integration.weight_site import LARGE, SOON_S, Engine, Site, a_site

from tetrad_devices.digest import sum64
from tetrad_devices.ring import DeviceRing
from tetrad_learner.publishing import Published
from tetrad_weights.digest import DigestAlgorithm
from tetrad_weights.manifest import from_digests
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import DeviceHandle, Manifest

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        torch.cuda.device_count() < 2, reason=f"needs 2 GPUs; torch.cuda.device_count() is {torch.cuda.device_count()}"
    ),
]


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


async def test_engines_get_every_version_in_groups_of_their_own_and_a_killed_receiver_costs_nobody_else() -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_receiver(GpuPlace(site))


async def test_sides_that_differ_are_refused_before_anything_hangs_and_both_values_are_named() -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.wrong_environment(GpuPlace(site))


async def test_a_sender_killed_in_mid_transfer_is_replaced_and_the_version_arrives() -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_sender(GpuPlace(site))


@pytest.mark.parametrize("frozen", ["sender", "receiver"])
async def test_whichever_side_freezes_is_killed_at_its_deadline_and_the_other_engine_never_waits(frozen: str) -> None:
    async with a_site(layout=LARGE, timeout_s=QUICK_S) as site:
        await group_scenarios.frozen_side(GpuPlace(site), frozen)


async def test_an_engine_killed_in_mid_transfer_takes_its_sender_along_and_costs_nothing() -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_engine(GpuPlace(site))


async def test_a_frozen_engine_is_quarantined_and_comes_back_with_a_new_group() -> None:
    async with a_site(layout=LARGE, timeout_s=QUICK_S) as site:
        await group_scenarios.frozen_engine(GpuPlace(site))


async def test_a_broadcaster_that_is_started_anew_makes_new_groups() -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.new_broadcaster(GpuPlace(site))
