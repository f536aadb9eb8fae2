"""Promises of the conversation: a learner and engines talk to a broadcaster over channels, bytes in shared memory."""

import asyncio

import msgspec
import numpy as np
import pytest
from unit.broadcaster.site import LAYOUT, SOON_S, a_site, until

from tetrad_broadcaster.subscribers import Standing
from tetrad_weights import Maps, verify
from tetrad_weights.owners import this_process
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.groups import FollowSending, LinkEchoed, SendingEnded, TestLink
from tetrad_wire.messages.weights import (
    VersionAccepted,
    VersionOffered,
    VersionRefused,
    VersionUnavailable,
    WeightTransport,
)

pytestmark = pytest.mark.timeout(30)


async def test_a_published_version_can_be_pulled_and_is_the_same(run):
    async with a_site(run) as site:
        publish = site.a_publish(1)
        accepted = await site.connect().request(publish, timeout_s=SOON_S)

        offer = await site.pull(1)

        assert isinstance(accepted, VersionAccepted)
        assert accepted.digest == publish.manifest.digest
        assert isinstance(offer, VersionOffered)
        assert offer.manifest == publish.manifest
        assert offer.segment.name != publish.segment.name
        maps = Maps()
        with maps.attach(offer.segment) as attachment:
            verify(offer.manifest, attachment.payload)
        maps.close()


async def test_whoever_tests_its_link_gets_its_bytes_back(run):
    async with a_site(run) as site:
        data = np.arange(1 << 16, dtype=np.uint8)

        reply = await site.connect().request(TestLink(data=data), timeout_s=SOON_S)

        assert isinstance(reply, LinkEchoed)
        assert np.array_equal(reply.data, data)


async def test_an_engine_that_takes_collectives_is_told_to_form_a_group_first(run):
    async with a_site(run) as site:
        await site.publish(1)

        alone = await site.pull(1, transports=(WeightTransport.NCCL,))
        choosing = await site.pull(1, transports=(WeightTransport.SHARED_MEMORY, WeightTransport.NCCL))

        assert isinstance(alone, VersionUnavailable)
        assert alone.needs_group
        assert isinstance(choosing, VersionOffered)


async def test_the_sending_in_a_group_that_nobody_knows_has_ended(run):
    async with a_site(run) as site:
        question = FollowSending(group="b.r.1", version=PolicyVersion(1), incarnation=Incarnation("r"))

        reply = await site.connect().request(question, timeout_s=SOON_S)

        assert isinstance(reply, SendingEnded)
        assert reply.problem == "it is not being sent in this group (any more)"


async def test_the_learner_may_write_its_segment_again_once_the_version_is_accepted(run):
    async with a_site(run) as site:
        await site.publish(1)

        assert site.segments[0].begin_writing()


async def test_publishing_the_same_again_is_accepted_without_another_segment(run):
    async with a_site(run) as site:
        publish = site.a_publish(1)
        connection = site.connect()
        first = await connection.request(publish, timeout_s=SOON_S)
        again = await connection.request(publish, timeout_s=SOON_S)

        assert isinstance(again, VersionAccepted)
        assert again.digest == first.digest
        assert site.broadcaster.statistics().num_segments == 1
        assert site.count('tetrad_broadcast_versions_total{transport="shared_memory"}') == 1


async def test_offers_sent_again_while_the_version_is_taken_get_one_answer_each_peer(run):
    async with a_site(run) as site:
        publish = site.a_publish(1)
        one, other = site.connect(), site.connect()

        answers = await asyncio.gather(*(peer.request(publish, timeout_s=SOON_S) for peer in (one, other)))

        assert [type(answer) for answer in answers] == [VersionAccepted, VersionAccepted]
        assert site.broadcaster.statistics().num_segments == 1


async def test_the_newest_two_versions_are_held(run):
    async with a_site(run) as site:
        for version in (1, 2, 3):
            await site.publish(version)

        assert site.broadcaster.holds == (2, 3)
        gone = await site.pull(1)
        assert isinstance(gone, VersionUnavailable)
        assert gone.holds == (2, 3)


async def test_a_version_that_is_not_there_yet_is_unavailable_with_what_is(run):
    async with a_site(run) as site:
        await site.publish(1)

        answer = await site.pull(2)

        assert isinstance(answer, VersionUnavailable)
        assert (answer.version, answer.holds) == (2, (1,))


@pytest.mark.parametrize(
    ("version", "complaint"), [(2, "version 2 is held with digest"), (1, "version 1 was offered after version 2")]
)
async def test_versions_never_repeat_or_decrease(run, version, complaint):
    async with a_site(run) as site:
        await site.publish(2)

        refused = await site.connect().request(site.a_publish(version, seed=99), timeout_s=SOON_S)

        assert isinstance(refused, VersionRefused)
        assert complaint in refused.reason
        assert not refused.may_retry


async def test_a_poisoned_byte_is_refused_by_the_name_of_its_tensor_and_the_old_version_stays(run):
    async with a_site(run) as site:
        await site.publish(1)
        publish = site.a_publish(2)
        site.segments[-1].payload[publish.manifest.tensors[1].offset] ^= 1

        refused = await site.connect().request(publish, timeout_s=SOON_S)

        assert isinstance(refused, VersionRefused)
        assert "tensor b has digest" in refused.reason
        assert not refused.may_retry
        assert site.broadcaster.holds == (1,)
        assert site.count('tetrad_broadcast_failures_total{reason="mismatch"}') == 1


@pytest.mark.parametrize("fields", [{"digest": "0" * 32}, {"num_bytes": 1 << 60}, {"algorithm": "md5"}])
async def test_a_manifest_that_contradicts_itself_is_refused(run, fields):
    async with a_site(run) as site:
        publish = site.a_publish(1)
        manifest = msgspec.structs.replace(publish.manifest, **fields)

        refused = await site.connect().request(msgspec.structs.replace(publish, manifest=manifest), timeout_s=SOON_S)

        assert isinstance(refused, VersionRefused)
        assert site.broadcaster.holds == ()


@pytest.mark.parametrize("fields", [{"name": "../passwd"}, {"nonce": "ff" * 16}, {"num_bytes": 7}])
async def test_a_segment_that_is_not_what_was_promised_is_refused(run, fields):
    async with a_site(run) as site:
        publish = site.a_publish(1)
        segment = msgspec.structs.replace(publish.segment, **fields)

        refused = await site.connect().request(msgspec.structs.replace(publish, segment=segment), timeout_s=SOON_S)

        assert isinstance(refused, VersionRefused)
        assert site.broadcaster.statistics().num_segments == 0


async def test_an_engine_that_has_read_counts_as_current(run):
    async with a_site(run) as site:
        await site.publish(1)
        offer = await site.pull(1)

        site.release(1, offer.manifest.digest)
        await until(lambda: site.broadcaster.is_idle, "the release was heard")

        assert site.broadcaster.statistics().standings == {Standing.CURRENT: 1}
        assert site.count('tetrad_broadcast_bytes_total{transport="shared_memory"}') == LAYOUT.num_bytes


async def test_an_engine_that_gave_up_is_counted_and_owed_nothing(run):
    async with a_site(run) as site:
        await site.publish(1)
        await site.pull(1)

        site.release(1, "", reason="DigestMismatchError: tensor a")
        await until(lambda: site.broadcaster.is_idle, "the release was heard")

        assert site.broadcaster.statistics().standings == {Standing.BEHIND: 1}
        assert site.count('tetrad_broadcast_failures_total{reason="given_up"}') == 1


async def test_while_engines_read_old_versions_fresh_segments_are_made_up_to_the_bound(run):
    async with a_site(run, limit=3) as site:
        for version in (1, 2, 3):
            assert isinstance(await site.publish(version), VersionAccepted)
            await site.pull(version, reader=f"rollout-{version}")

        refused = await site.publish(4)

        assert isinstance(refused, VersionRefused)
        assert refused.may_retry
        assert "all 3 segments are in use" in refused.reason
        assert "readers: rollout-1, rollout-2, rollout-3" in refused.reason
        assert site.broadcaster.holds == (2, 3)


async def test_a_release_makes_room_for_the_version_that_was_refused(run):
    async with a_site(run, limit=3) as site:
        offers = []
        for version in (1, 2, 3):
            await site.publish(version)
            offers.append(await site.pull(version, reader=f"rollout-{version}"))
        assert isinstance(await site.publish(4), VersionRefused)

        site.release(1, offers[0].manifest.digest, reader="rollout-1")
        await until(lambda: site.broadcaster.statistics().num_readers == 2, "the release was heard")

        assert isinstance(await site.publish(4), VersionAccepted)


async def test_memory_beyond_two_segments_is_given_back(run):
    async with a_site(run, timeout_s=0.4) as site:
        for version in (1, 2, 3):
            await site.publish(version)
            await site.pull(version, reader=f"rollout-{version}")
        assert site.broadcaster.statistics().num_segments == 3

        await until(lambda: site.broadcaster.statistics().num_segments == 2, "the surplus was closed")


async def test_a_late_engine_is_quarantined_and_named_while_the_others_go_on(run):
    async with a_site(run, timeout_s=0.3) as site:
        await site.publish(1)
        await site.pull(1, reader="rollout-slow")
        offer = await site.pull(1, reader="rollout-fast")
        site.release(1, offer.manifest.digest, reader="rollout-fast")

        await until(lambda: site.broadcaster.is_idle, "the deadline came")

        assert site.broadcaster.statistics().standings == {Standing.QUARANTINED: 1, Standing.CURRENT: 1}
        assert site.count('tetrad_broadcast_failures_total{reason="timeout"}') == 1
        assert isinstance(await site.publish(2), VersionAccepted)


async def test_a_segment_is_never_written_under_a_living_reader_however_late(run):
    async with a_site(run, timeout_s=0.2, limit=3) as site:
        await site.publish(1)
        offer = await site.pull(1)
        maps = Maps()
        with maps.attach(offer.segment) as attachment:
            await until(lambda: site.broadcaster.is_idle, "the reader was quarantined")
            for version in (2, 3, 4, 5):
                assert isinstance(await site.publish(version), VersionAccepted)

            verify(offer.manifest, attachment.payload)
        maps.close()


async def test_a_quarantined_engine_that_asks_again_is_served(run):
    async with a_site(run, timeout_s=0.2) as site:
        await site.publish(1)
        await site.pull(1)
        await until(lambda: site.broadcaster.is_idle, "the reader was quarantined")

        assert isinstance(await site.pull(1), VersionOffered)


async def test_the_right_of_a_dead_process_ends_long_before_its_deadline(run):
    async with a_site(run) as site:
        await site.publish(1)
        await site.pull(1, pid=this_process().pid, started=1)

        await until(lambda: site.broadcaster.is_idle, "its death was seen")

        assert site.count('tetrad_broadcast_failures_total{reason="died"}') == 1


async def test_a_draining_broadcaster_refuses_new_versions_and_waits_for_readers(run):
    async with a_site(run) as site:
        await site.publish(1)
        offer = await site.pull(1)
        draining = asyncio.create_task(site.broadcaster.drain(timeout_s=SOON_S))
        await asyncio.sleep(0)

        refused = await site.publish(2)
        assert isinstance(refused, VersionRefused)
        assert refused.may_retry
        site.release(1, offer.manifest.digest)

        assert await draining


async def test_a_drain_does_not_wait_for_ever(run):
    async with a_site(run) as site:
        await site.publish(1)
        await site.pull(1)

        assert not await site.broadcaster.drain(timeout_s=0.1)


async def test_a_message_of_another_kind_harms_nothing(run):
    async with a_site(run) as site:
        site.connect().send_nowait(VersionUnavailable(version=PolicyVersion(1), holds=(), reason=""))

        assert isinstance(await site.publish(1), VersionAccepted)
