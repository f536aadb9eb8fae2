"""Weights over NCCL from GPU 0 to GPU 1: what is tested over gloo on a CPU, with the same processes."""

from __future__ import annotations

import pytest
import torch
from gpu.gpu_place import GpuPlace
from integration import group_scenarios
from integration.group_scenarios import QUICK_S
from integration.weight_site import LARGE, a_site

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        torch.cuda.device_count() < 2, reason=f"needs 2 GPUs; torch.cuda.device_count() is {torch.cuda.device_count()}"
    ),
]


async def test_engines_get_every_version_in_groups_of_their_own_and_a_killed_receiver_costs_nobody_else() -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_receiver(GpuPlace(site))


@pytest.mark.parametrize(("name", "value"), group_scenarios.DIFFERENT)
async def test_sides_that_differ_are_refused_before_anything_hangs_and_both_values_are_named(
    name: str, value: str
) -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.wrong_environment(GpuPlace(site), name, value)


async def test_a_side_that_has_set_what_we_force_is_told_and_has_its_weights_by_collectives() -> None:
    async with a_site(layout=LARGE) as site:
        await group_scenarios.overridden_environment(GpuPlace(site))


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
