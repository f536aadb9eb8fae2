"""Weights by collectives between real processes: broadcaster, senders, receivers and engines, over gloo."""

import time

import pytest
from integration import group_scenarios
from integration.group_scenarios import QUICK_S, HostPlace
from integration.weight_site import LARGE, SOON_S, a_site

from tetrad_rollout.weights.nccl import Nccl
from tetrad_transport.membership import new_incarnation
from tetrad_weights import verify
from tetrad_weights.attachments import attach
from tetrad_wire.messages.weights import PullVersion, VersionUnavailable, WeightTransport

pytestmark = pytest.mark.timeout(600)


@pytest.mark.long
async def test_engines_get_every_version_in_groups_of_their_own_and_a_killed_receiver_costs_nobody_else():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.killed_receiver(HostPlace(site))


async def test_sides_that_differ_are_refused_before_anything_hangs_and_both_values_are_named():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.wrong_environment(HostPlace(site), "NCCL_P2P_DISABLE", "1")


@pytest.mark.long
async def test_a_side_that_has_set_what_we_force_is_told_and_has_its_weights_by_collectives():
    async with a_site(layout=LARGE) as site:
        await group_scenarios.overridden_environment(HostPlace(site))


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


@pytest.mark.long
async def test_a_question_that_is_sent_again_does_not_end_what_is_being_sent_for_it():
    async with a_site(layout=LARGE) as site:
        published = await site.publish(1)
        connection = site.transport.connect(site.endpoint, name="rollout-0")
        incarnation = new_incarnation()
        receiver = Nccl(incarnation=incarnation, replica="rollout-0")
        site.stack.push_async_callback(receiver.end)
        receiver.ask_by(connection.request)
        link = await receiver.form(is_on_gpu=False, start_s=SOON_S, limit_s=SOON_S)
        question = PullVersion(
            version=published.version,
            incarnation=incarnation,
            group=link.group,
            transports=(WeightTransport.NCCL,),
            attempt=1,
        )

        offer = await connection.request(question, timeout_s=SOON_S)
        while isinstance(offer, VersionUnavailable):  # our end of the group was ready first
            assert not offer.needs_group
            offer = await connection.request(question, timeout_s=SOON_S)
        again = await connection.request(question, timeout_s=SOON_S)
        moved = await receiver.receive(offer, deadline=time.monotonic() + SOON_S)

        assert again == offer
        with attach(moved.segment) as attachment:
            verify(offer.manifest, attachment.payload)
