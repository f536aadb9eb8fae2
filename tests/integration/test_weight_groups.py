"""Weights by collectives between real processes: broadcaster, senders, receivers and engines, over gloo."""

import pytest
from integration import group_scenarios
from integration.group_scenarios import QUICK_S, HostPlace
from integration.weight_site import LARGE, a_site

pytestmark = pytest.mark.timeout(600)


@pytest.mark.long
async def test_engines_get_every_version_in_groups_of_their_own_and_a_killed_receiver_costs_nobody_else():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_receiver(HostPlace(site))


async def test_sides_that_differ_are_refused_before_anything_hangs_and_both_values_are_named():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.wrong_environment(HostPlace(site))


@pytest.mark.long
async def test_a_sender_killed_in_mid_transfer_is_replaced_and_the_version_arrives():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_sender(HostPlace(site))


@pytest.mark.long
@pytest.mark.parametrize("frozen", ["sender", "receiver"])
async def test_whichever_side_freezes_is_killed_at_its_deadline_and_the_other_engine_never_waits(frozen):
    async with a_site(layout=LARGE, timeout_s=QUICK_S) as site:
        await group_scenarios.frozen_side(HostPlace(site), frozen)


@pytest.mark.long
async def test_an_engine_killed_in_mid_transfer_takes_its_sender_along_and_costs_nothing():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_engine(HostPlace(site))


@pytest.mark.long
async def test_a_frozen_engine_is_quarantined_and_comes_back_with_a_new_group():
    async with a_site(layout=LARGE, timeout_s=QUICK_S) as site:
        await group_scenarios.frozen_engine(HostPlace(site))


@pytest.mark.long
async def test_a_broadcaster_that_is_started_anew_makes_new_groups():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.new_broadcaster(HostPlace(site))
