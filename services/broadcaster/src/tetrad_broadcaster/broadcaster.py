"""The broadcaster's conversation: versions come from the learner, engines pull them, rights to read end.

Owns the bound socket and the shelf. The bytes are moved by `intake` here, and then by the engines themselves, out of
shared memory, or by `chunks` over their connections.
Stateless beyond its life: a new start holds nothing and says so, and the ranks publish again.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from tetrad_broadcaster.chunks import ChunkDesk
from tetrad_broadcaster.device_holder import DeviceHolder
from tetrad_broadcaster.intake import Intake, RefusedError
from tetrad_broadcaster.metrics import BroadcasterMetrics, BroadcasterStatistics, Failure
from tetrad_broadcaster.offering import choose, offer, why_not
from tetrad_broadcaster.rights import Reader, ReadingRights, Right
from tetrad_broadcaster.senders import Senders, Standing
from tetrad_broadcaster.shelf import Held, Shelf
from tetrad_broadcaster.subscribers import Subscribers
from tetrad_runtime.clock import Clock, MonotonicClock
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Delivery, Listener, PeerFullError, PeerGoneError, PeerId
from tetrad_weights.errors import WeightsError
from tetrad_weights.group_orders import Send
from tetrad_weights.owners import Process, is_alive, pid_space
from tetrad_weights.ring import SegmentRing
from tetrad_weights.segments import Segment
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.groups import FollowSending, FormGroup, LinkEchoed, TestLink
from tetrad_wire.messages.weights import (
    PublishVersion,
    PullChunk,
    PullVersion,
    SegmentReleased,
    VersionAccepted,
    VersionOffered,
    VersionRefused,
    VersionUnavailable,
    WeightTransport,
)

# How soon the death of a reader is seen, and how exact a deadline is.
WATCH_EVERY_S: Final = 0.5
# One learner has one version on its way; more is a learner that was restarted meanwhile, or a stray peer.
MAX_WAITING: Final = 4
MAX_NAME: Final = 64

log = get_logger(__name__)


class Broadcaster:
    """Serves one run. `on_change` hears when the set of held versions has changed."""

    def __init__(
        self,
        listener: Listener,
        ring: SegmentRing,
        *,
        timeout_s: float,
        metrics: BroadcasterMetrics,
        on_change: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        incarnation: str = "broadcaster",
        group_host: str = "127.0.0.1",
        num_threads: int | None = None,
    ) -> None:
        self._listener = listener
        self._ring = ring
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._on_change = on_change
        self._clock = clock or MonotonicClock()
        self._shelf = Shelf()
        self._rights = ReadingRights()
        self._subscribers = Subscribers()
        self._holder = DeviceHolder(incarnation=incarnation, timeout_s=timeout_s)
        self._intake = Intake(self._shelf, ring, holder=self._holder, num_threads=num_threads)
        self._senders = Senders(incarnation=incarnation, host=group_host, timeout_s=timeout_s, metrics=metrics)
        self._chunks = ChunkDesk(self._shelf, ring, self._rights, metrics=metrics, timeout_s=timeout_s)
        self._askers: dict[tuple[PolicyVersion, str], dict[PeerId, int]] = {}
        self._last_refusal: tuple[PolicyVersion, Failure] | None = None
        self._is_draining = False
        self._bringing: asyncio.Task[None] | None = None

    @property
    def holds(self) -> tuple[PolicyVersion, ...]:
        """Versions that engines can have."""
        return self._shelf.holds

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being taken and nobody is owed a reading."""
        return not self._intake.is_busy and not len(self._rights)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="broadcaster-watch")
            while True:
                self._hear(await self._listener.receive(), tasks)

    def begin_holding(self, num_bytes: int) -> Segment:
        """Return a segment for a version that comes by another way than from the learner; raise a WeightsError."""
        self._shelf.make_way(pinned=self._rights.segments())
        return self._ring.take(num_bytes, pinned={*self._rights.segments(), *self._shelf.segments()})

    def hold(self, held: Held) -> None:
        """Serve such a version, which is verified and in a segment that is no longer written."""
        self._shelf.put(held)
        self._on_change()

    async def drain(self, *, timeout_s: float) -> bool:
        """Refuse new versions and wait until idle; False if that took too long."""
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.is_idle:
                    await self._clock.sleep(0.05)
        return self.is_idle

    def close(self) -> None:
        """Remove every segment; readers that have one mapped keep it until they let go."""
        self._intake.close()
        self._senders.close()
        self._holder.close()

    def statistics(self) -> BroadcasterStatistics:
        """What the service is at this moment."""
        newest = self._shelf.newest.version if self._shelf.newest else None
        return BroadcasterStatistics(
            newest=newest or 0,
            standings=dict(self._subscribers.standings(newest)),
            lags=self._subscribers.lags(newest),
            num_segments=len(self._ring),
            segment_bytes=self._ring.num_bytes,
            num_readers=len(self._rights),
            num_groups=len(self._senders),
        )

    def _hear(self, delivery: Delivery, tasks: asyncio.TaskGroup) -> None:
        peer, number = delivery.peer, delivery.message.id
        match delivery.message.body:
            case PublishVersion() as publish:
                self._on_publish(publish, peer, number, tasks)
            case PullVersion() as pull:
                self._reply(peer, self._answer(pull, tasks), number)
            case PullChunk() as asked:
                answer = self._chunks.answer(asked, now=self._clock.now())
                if answer is not None:
                    self._reply(peer, answer, number)
            case SegmentReleased() as released:
                self._on_released(released)
            case TestLink() as test:
                self._reply(peer, LinkEchoed(data=test.data), number)
            case FormGroup() as question:
                self._senders.form(question, _reader(question), self._later(peer, number), tasks)
            case FollowSending() as question:
                self._senders.follow(question, self._later(peer, number))
            case other:
                log.warning("message_unexpected", kind=type(other).__name__)

    def _on_publish(self, publish: PublishVersion, peer: PeerId, number: int, tasks: asyncio.TaskGroup) -> None:
        key = (publish.version, publish.manifest.digest)
        is_new = key not in self._askers
        if is_new and len(self._askers) >= MAX_WAITING:
            reason = f"{MAX_WAITING} versions are waiting to be taken"
            self._reply(peer, VersionRefused(version=publish.version, reason=reason, may_retry=True), number)
            return
        # A request that is sent again waits for the same answer; only its last number is answered.
        self._askers.setdefault(key, {})[peer] = number
        if is_new:
            tasks.create_task(self._take(publish), name=f"take-{publish.version}")

    async def _take(self, publish: PublishVersion) -> None:
        before = self.holds
        answer = await self._taken(publish)
        if self.holds != before:
            self._on_change()
        for peer, number in self._askers.pop((publish.version, publish.manifest.digest)).items():
            self._reply(peer, answer, number)

    async def _taken(self, publish: PublishVersion) -> VersionAccepted | VersionRefused:
        if self._is_draining:
            return VersionRefused(version=publish.version, reason="the broadcaster is leaving", may_retry=True)
        started, is_new = self._clock.now(), publish.version not in self.holds
        try:
            held = await self._intake.take(publish, pinned=self._rights.segments())
        except RefusedError as error:
            return self._refuse(publish, error)
        seconds = self._clock.now() - started
        if is_new:
            self._on_taken(publish, seconds=seconds)
        return VersionAccepted(version=held.version, digest=held.manifest.digest, seconds=seconds)

    def _refuse(self, publish: PublishVersion, error: RefusedError) -> VersionRefused:
        self._metrics.failed(error.failure)
        reason = error.reason
        if error.failure is Failure.BUSY:
            reason = f"{reason}; readers: {', '.join(self._readers()) or 'none that is known'}"
        # The learner asks again and again while it may hope: the log hears of it once.
        if (publish.version, error.failure) != self._last_refusal:
            self._last_refusal = (publish.version, error.failure)
            log.error("version_refused", version=publish.version, reason=reason, may_retry=error.may_retry)
        return VersionRefused(version=publish.version, reason=reason, may_retry=error.may_retry)

    def _on_taken(self, publish: PublishVersion, *, seconds: float) -> None:
        self._metrics.version_taken(seconds=seconds)
        log.info(
            "version_taken",
            version=publish.version,
            step=publish.step,
            digest=publish.manifest.digest,
            num_bytes=publish.manifest.num_bytes,
            seconds=round(seconds, 4),
        )

    def _answer(self, pull: PullVersion, tasks: asyncio.TaskGroup) -> VersionOffered | VersionUnavailable:
        reader = _reader(pull)
        self._subscribers.asked(reader)
        is_repeated = self._senders.has_sent_for(pull)
        if not is_repeated:
            self._senders.release(pull.incarnation)
        held = self._shelf.get(pull.version)
        if held is None:
            reason = "it is being taken" if self._is_coming(pull.version) else "it is not here"
            return VersionUnavailable(version=pull.version, holds=self.holds, reason=reason)
        transport = choose(held, pull)
        if transport is None:
            if held.relay_gpu:
                self._bring_to_host(held, tasks)
                reason = "it is being brought into host memory"
            else:
                reason = why_not(held, pull.transports)
            return VersionUnavailable(version=pull.version, holds=self.holds, reason=reason)
        if transport is WeightTransport.NCCL:
            self._senders.gpu = held.relay_gpu
            standing = self._senders.standing(pull.incarnation, pull.group)
            if standing is not Standing.READY:
                reason = f"its group is {standing.value}"
                needs_group = standing is Standing.NONE
                return VersionUnavailable(
                    version=pull.version, holds=self.holds, reason=reason, needs_group=needs_group
                )
            if not is_repeated:
                self._senders.send(pull, partial(self._memory, held, pull.gpu), tasks)
        offered = offer(held, transport, pull=pull, deadline_s=self._timeout_s)
        self._rights.grant(self._right(reader, held, offered))
        self._metrics.version_offered(transport)
        log.info("version_offered", replica=reader.replica, version=held.version, transport=transport.value)
        return offered

    def _bring_to_host(self, held: Held, tasks: asyncio.TaskGroup) -> None:
        if self._bringing is None or self._bringing.done():
            self._bringing = tasks.create_task(self._brought_to_host(held), name=f"to-host-{held.version}")

    async def _brought_to_host(self, held: Held) -> None:
        try:
            await self._intake.bring_to_host(held, pinned=self._rights.segments())
        except WeightsError as error:
            log.error("version_not_on_host", version=held.version, reason=str(error))  # noqa: TRY400 - it says it all
            return
        log.info("version_on_host", version=held.version, num_bytes=held.manifest.num_bytes)

    async def _memory(self, held: Held, gpu: str) -> Send:
        """Where a sender finds a version."""
        num_bytes = held.manifest.num_bytes
        if gpu:
            return Send(num_bytes=num_bytes, device=await self._holder.export(held.version))
        return Send(num_bytes=num_bytes, segment=held.segment)

    def _right(self, reader: Reader, held: Held, offered: VersionOffered) -> Right:
        now, transport = self._clock.now(), offered.transport
        is_asking = transport is WeightTransport.SOCKET
        memory = offered.device.gate if offered.device else held.segment
        return Right(
            reader=reader,
            version=held.version,
            digest=held.manifest.digest,
            num_bytes=held.manifest.num_bytes,
            # What a holder has is pinned by its version's place on the shelf.
            segment=memory.name if memory else "",
            transport=transport,
            granted_at=now,
            deadline=now + self._timeout_s,
            silent_after=now + self._chunks.silence_s if is_asking else math.inf,
        )

    def _on_released(self, released: SegmentReleased) -> None:
        right = self._rights.release(released.incarnation, released.version)
        if right is None:
            # Said twice, or after its deadline: there is nothing left to end.
            return
        if released.digest != right.digest:
            self._metrics.failed(Failure.GIVEN_UP)
            self._senders.release(released.incarnation)
            log.warning("reading_given_up", replica=right.reader.replica, version=right.version, reason=released.reason)
            return
        seconds = self._clock.now() - right.granted_at
        self._subscribers.read(right.reader, right.version)
        self._metrics.version_read(right.transport, num_bytes=right.num_bytes, seconds=seconds)
        log.info(
            "version_read",
            replica=right.reader.replica,
            version=right.version,
            transport=right.transport.value,
            seconds=round(seconds, 4),
        )

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(min(WATCH_EVERY_S, self._timeout_s / 4))
            self._end_rights()
            self._subscribers.forget_dead(is_alive)
            self._senders.end_dead(is_alive)
            self._intake.trim(pinned=self._rights.segments())

    def _end_rights(self) -> None:
        for right in self._rights.end_dead(is_alive):
            self._metrics.failed(Failure.DIED)
            self._senders.end(right.reader.incarnation)
            log.warning("consumer_died", replica=right.reader.replica, version=right.version)
        for right in self._rights.expire(self._clock.now()):
            self._subscribers.quarantine(right.reader)
            self._metrics.failed(Failure.TIMEOUT)
            if right.transport is WeightTransport.NCCL:
                self._senders.end(right.reader.incarnation)
            log.error(
                "consumer_quarantined",
                replica=right.reader.replica,
                version=right.version,
                reason="deadline" if right.deadline <= right.silent_after else "silence",
                limit_s=self._timeout_s if right.deadline <= right.silent_after else self._chunks.silence_s,
            )

    def _readers(self) -> list[str]:
        return self._rights.readers() + self._subscribers.quarantined_replicas()

    def _is_coming(self, version: PolicyVersion) -> bool:
        return any(coming == version for coming, _digest in self._askers)

    def _later(self, peer: PeerId, number: int) -> Callable[[msgspec.Struct], None]:
        """Replies to a question, when there is an answer."""
        return lambda body: self._reply(peer, body, number)

    def _reply(self, peer: PeerId, body: msgspec.Struct, number: int) -> None:
        try:
            self._listener.send_nowait(peer, body, reply_to=number)
        except (PeerGoneError, PeerFullError) as error:
            # Whoever still wants the answer asks again; a right that was granted ends by death or deadline.
            log.warning("reply_not_sent", kind=type(body).__name__, reason=str(error))


def _reader(asked: PullVersion | FormGroup) -> Reader:
    return Reader(asked.incarnation, (asked.name or asked.incarnation)[:MAX_NAME], _process(asked))


def _process(pull: PullVersion | FormGroup) -> Process | None:
    is_ours = pull.pid_space in {"", pid_space()}
    return Process(pull.pid, pull.started) if pull.pid and is_ours else None
