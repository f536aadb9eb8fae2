"""Promises of publishing: a broadcaster in the test answers offers and looks into the learner's segments."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from tetrad_learner.publishing import PublishDeadlineError, Publisher, PublishRefusedError, VersionNotHeldError
from tetrad_runtime.backoff import Backoff
from tetrad_transport import Listener, MemoryTransport
from tetrad_weights import Attachment, DigestAlgorithm, Parameter, attach, lay_out, verify
from tetrad_weights.segments import DIRECTORY
from tetrad_wire import RemoteProtocolError
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import PublishVersion, VersionAccepted, VersionRefused

pytestmark = pytest.mark.timeout(30)

LAYOUT = lay_out([Parameter("a", "float32", (300,)), Parameter("b", "bfloat16", (5,))])
SOON_S = 5.0

Answer = Callable[[PublishVersion], msgspec.Struct | None]


def accept(offer: PublishVersion) -> VersionAccepted:
    return VersionAccepted(version=offer.version, digest=offer.manifest.digest)


def refuse(*, may_retry: bool) -> Answer:
    return lambda offer: VersionRefused(version=offer.version, reason="no room", may_retry=may_retry)


def ignore(_offer: PublishVersion) -> None:
    return None


@dataclass
class Site:
    listener: Listener
    publisher: Publisher
    answers: list[Answer]
    offers: list[PublishVersion] = field(default_factory=list)

    async def answer(self) -> None:
        """Answer each offer with the next of `answers`, then with yes."""
        while True:
            delivery = await self.listener.receive()
            offer = delivery.message.body
            assert isinstance(offer, PublishVersion)
            self.offers.append(offer)
            reply = (self.answers.pop(0) if self.answers else accept)(offer)
            if reply is not None:
                self.listener.send_nowait(delivery.peer, reply, reply_to=delivery.message.id)

    async def publish(self, version: int):
        def fill(buffer: np.ndarray) -> None:
            buffer[:] = np.random.default_rng(version).integers(0, 256, len(buffer), dtype=np.uint8)

        return await self.publisher.publish(version=PolicyVersion(version), step=version, layout=LAYOUT, fill=fill)


@contextlib.asynccontextmanager
async def a_site(
    *answers: Answer, timeout_s: float = SOON_S, algorithm: DigestAlgorithm = DigestAlgorithm.XXH3_128
) -> AsyncIterator[Site]:
    run = f"test-{secrets.token_hex(6)}"
    transport = MemoryTransport()
    publisher = Publisher(
        transport.connect("memory://broadcaster", name="trainer"),
        run=run,
        incarnation=Incarnation("rank-0"),
        timeout_s=timeout_s,
        algorithm=algorithm,
        backoff=Backoff(first_s=0.01, limit_s=0.05),
    )
    site = Site(transport.listen("memory://broadcaster"), publisher, list(answers))
    answering = asyncio.create_task(site.answer())
    try:
        yield site
    finally:
        answering.cancel()
        publisher.close()
        assert list(DIRECTORY.glob(f"tetrad.{run}.*")) == []


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
async def test_the_broadcaster_is_offered_what_was_filled_with_its_digests(algorithm):
    async with a_site(algorithm=algorithm) as site:
        published = await site.publish(1)

        offer = site.offers[0]
        with attach(offer.segment) as attachment:
            verify(offer.manifest, attachment.payload)
        assert (published.digest, published.num_bytes) == (offer.manifest.digest, LAYOUT.num_bytes)
        assert offer.manifest.algorithm == algorithm
        assert published.seconds > 0


async def test_a_refusal_that_may_pass_is_asked_again_until_it_passes():
    async with a_site(refuse(may_retry=True), refuse(may_retry=True)) as site:
        await site.publish(1)

        assert len(site.offers) == 3


async def test_a_final_refusal_is_an_error_with_the_reason():
    async with a_site(refuse(may_retry=False)) as site:
        with pytest.raises(PublishRefusedError, match="version 1 was refused: no room"):
            await site.publish(1)


async def test_no_answer_in_time_is_an_error_and_the_version_can_be_offered_again():
    async with a_site(ignore, timeout_s=0.2) as site:
        with pytest.raises(
            PublishDeadlineError, match=r"version \d+ from rank 0 within generator\.weight_sync_timeout=0\.2 s: no"
        ):
            await site.publish(1)

        republished = await site.publisher.republish(PolicyVersion(1))

        assert republished.digest == site.offers[0].manifest.digest
        assert site.offers[0] == site.offers[-1]


async def test_the_deadline_names_the_last_refusal():
    async with a_site(*[refuse(may_retry=True)] * 1000, timeout_s=0.2) as site:
        with pytest.raises(PublishDeadlineError, match="no room"):
            await site.publish(1)


async def test_only_the_newest_version_can_be_offered_again():
    async with a_site() as site:
        await site.publish(1)
        await site.publish(2)

        with pytest.raises(VersionNotHeldError, match="version 1 is not here; 2 is"):
            await site.publisher.republish(PolicyVersion(1))
        assert site.publisher.holds == 2


async def test_two_segments_take_turns_once_versions_are_accepted():
    async with a_site() as site:
        for version in (1, 2, 3):
            await site.publish(version)

        names = [offer.segment.name for offer in site.offers]
        assert names[0] == names[2] != names[1]


async def test_a_segment_that_the_broadcaster_still_reads_is_not_written():
    readings: list[Attachment] = []

    def hang(offer: PublishVersion) -> None:
        readings.append(attach(offer.segment))

    async with a_site(hang, timeout_s=0.2) as site:
        with pytest.raises(PublishDeadlineError):
            await site.publish(1)
        await site.publish(2)
        await site.publish(3)

        verify(site.offers[0].manifest, readings[0].payload)
        readings[0].close()


async def test_an_acceptance_of_other_bytes_is_not_believed():
    async with a_site(lambda offer: VersionAccepted(version=offer.version, digest="0" * 32)) as site:
        with pytest.raises(RemoteProtocolError):
            await site.publish(1)


async def test_a_fill_that_fails_leaves_the_version_before_it_in_place():
    def fail(_buffer: np.ndarray) -> None:
        raise RuntimeError("gather failed")

    async with a_site() as site:
        await site.publish(1)
        with pytest.raises(RuntimeError, match="gather failed"):
            await site.publisher.publish(version=PolicyVersion(2), step=2, layout=LAYOUT, fill=fail)

        assert site.publisher.holds == 1
        await site.publisher.republish(PolicyVersion(1))
        await site.publish(2)
