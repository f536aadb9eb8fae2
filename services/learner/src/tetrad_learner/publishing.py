"""Publishes policy versions: rank 0 fills a shared-memory segment, the broadcaster clones it.

Owns the learner's segments and the offer. Bytes and messages only: the caller's `fill` knows where weights come from.
The segment of the newest version stays as it is, so that a broadcaster that lost it can have it again.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import msgspec

from tetrad_runtime.backoff import Backoff
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Connection, DeadlineError, RefusedError
from tetrad_weights.digest import Bytes, DigestAlgorithm
from tetrad_weights.layout import Layout
from tetrad_weights.manifest import build
from tetrad_weights.ring import SegmentRing
from tetrad_weights.segments import Segment
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import (
    AdapterSpec,
    Canary,
    DeviceHandle,
    Manifest,
    PublishVersion,
    VersionAccepted,
    VersionRefused,
)

# A broadcaster that was restarted has not heard the first offer.
RESEND_S: Final = 1.0

Fill = Callable[[Bytes], None]
"""Writes every tensor of the layout into uint8[layout.num_bytes]. Blocking; called in a thread."""

Result = TypeVar("Result")

log = get_logger(__name__)


class DeviceOffer(Protocol):
    """A version in GPU memory."""

    @property
    def manifest(self) -> Manifest:
        """Digests taken there."""
        ...

    @property
    def handles(self) -> tuple[DeviceHandle, ...]:
        """One for each GPU and consumer."""
        ...

    @property
    def relay(self) -> DeviceHandle | None:
        """For the broadcaster's own copy; None where it needs none."""
        ...

    @property
    def fill_s(self) -> float:
        """Seconds until the bytes lay there."""
        ...

    @property
    def digest_s(self) -> float:
        """Seconds of the digests."""
        ...


class PublishError(Exception):
    """A version did not reach the broadcaster.

    ├── PublishRefusedError    it said no, for good
    ├── PublishDeadlineError   it did not say yes in time
    └── VersionNotHeldError    this process has no segment of that version
    """


class PublishRefusedError(PublishError):
    """The broadcaster refused the version."""

    def __init__(self, *, version: int, reason: str) -> None:
        super().__init__(f"version {version} was refused: {reason}")
        self.version, self.reason = version, reason


class PublishDeadlineError(PublishError):
    """The broadcaster did not accept the version in time."""

    def __init__(self, *, version: int, limit_s: float, reason: str) -> None:
        super().__init__(
            f"the broadcaster had not accepted version {version} from rank 0 within "
            f"generator.weight_sync_timeout={limit_s:g} s: {reason}"
        )
        self.version, self.limit_s, self.reason = version, limit_s, reason


class VersionNotHeldError(PublishError):
    """The version is not in a segment of this process; it must be filled again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A version that the broadcaster has its own copy of."""

    version: PolicyVersion
    digest: str
    """Of the manifest."""
    num_bytes: int
    seconds: float
    """In all."""
    fill_s: float
    digest_s: float
    accept_s: float
    """From the offer to the acceptance: the broadcaster's clone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The newest version, in a segment that stays unwritten."""

    offer: PublishVersion
    segment: Segment | None
    """None where it lies in GPU memory only."""
    fill_s: float = 0.0
    digest_s: float = 0.0

    @property
    def segments(self) -> set[str]:
        """Names of the segments that hold it."""
        return {self.segment.name} if self.segment else set()


class Publisher:
    """Publishes one version at a time over a connection to the broadcaster."""

    def __init__(
        self,
        connection: Connection,
        *,
        run: str,
        incarnation: Incarnation,
        timeout_s: float,
        algorithm: DigestAlgorithm = DigestAlgorithm.XXH3_128,
        num_threads: int | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._algorithm = algorithm
        self._num_threads = num_threads
        self._backoff = backoff or Backoff(first_s=0.1, limit_s=2.0, jitter=0.5)
        self._ring = SegmentRing(run=run, incarnation=incarnation)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._is_publishing = asyncio.Lock()
        self._kept: _Kept | None = None

    @property
    def holds(self) -> PolicyVersion | None:
        """The version that `republish` can offer."""
        return self._kept.offer.version if self._kept else None

    async def publish(
        self,
        *,
        version: PolicyVersion,
        step: int,
        layout: Layout,
        fill: Fill | None,
        copy: DeviceOffer | None = None,
        adapter: AdapterSpec | None = None,
        canary: Canary | None = None,
    ) -> Published:
        """Fill a segment, digest it, and offer it until the broadcaster has its own copy.

        What lies in GPU memory already is offered as it is; then without `fill` there is no segment, and engines
        that read host memory are not served. `adapter` says what the adapters belong to, where they are all there is.

        Raises PublishRefusedError or PublishDeadlineError; the version can then still be republished. Raises
        SegmentsBusyError or SegmentAllocationError where there is no segment to fill.
        """
        async with self._is_publishing:
            kept = await self._prepare(version, step, layout, fill, copy, adapter)
            self._kept = kept = replace(kept, offer=msgspec.structs.replace(kept.offer, canary=canary))
            published = await self._offer(kept)
            await self._in_thread(lambda: self._ring.trim(pinned=kept.segments))
            return published

    async def republish(self, version: PolicyVersion) -> Published:
        """Offer the newest version again as it is: same bytes, same digest; raise VersionNotHeldError for another."""
        async with self._is_publishing:
            if self._kept is None or self._kept.offer.version != version:
                raise VersionNotHeldError(f"version {version} is not here; {self.holds or 'none'} is")
            return await self._offer(self._kept)

    def use(self, connection: Connection) -> None:
        """Offer to another broadcaster from now on."""
        self._connection = connection

    def close(self) -> None:
        """Remove every segment; whoever still reads one keeps it until it lets go."""
        self._thread.shutdown()
        self._ring.close()

    async def _prepare(
        self,
        version: PolicyVersion,
        step: int,
        layout: Layout,
        fill: Fill | None,
        copy: DeviceOffer | None,
        adapter: AdapterSpec | None,
    ) -> _Kept:
        fill_s, digest_s = (0.0, 0.0) if copy is None else (copy.fill_s, copy.digest_s)
        manifest = None if copy is None else copy.manifest
        segment: Segment | None = None
        if fill is not None:
            pinned = self._kept.segments if self._kept else set()
            taken = segment = await self._in_thread(lambda: self._ring.take(layout.num_bytes, pinned=pinned))
            try:
                _, host_fill_s = await self._in_thread(lambda: _timed(lambda: fill(taken.payload)))
                fill_s += host_fill_s
                if manifest is None:
                    manifest, digest_s = await self._in_thread(
                        lambda: _timed(lambda: self._describe(layout, taken, adapter))
                    )
            finally:
                taken.end_writing()
        if manifest is None:
            raise ValueError("a version needs memory to lie in: a fill of a segment or a copy on devices")
        offer = PublishVersion(
            version=version,
            step=step,
            manifest=manifest,
            segment=segment.handle if segment else None,
            devices=copy.handles if copy else (),
            relay=copy.relay if copy else None,
        )
        return _Kept(offer=offer, segment=segment, fill_s=fill_s, digest_s=digest_s)

    def _describe(self, layout: Layout, segment: Segment, adapter: AdapterSpec | None) -> Manifest:
        return build(layout, segment.payload, algorithm=self._algorithm, adapter=adapter, num_threads=self._num_threads)

    async def _offer(self, kept: _Kept) -> Published:
        started = time.monotonic()
        await self._until_accepted(kept.offer, deadline=started + self._timeout_s)
        accept_s = time.monotonic() - started
        published = Published(
            version=kept.offer.version,
            digest=kept.offer.manifest.digest,
            num_bytes=kept.offer.manifest.num_bytes,
            seconds=kept.fill_s + kept.digest_s + accept_s,
            fill_s=kept.fill_s,
            digest_s=kept.digest_s,
            accept_s=accept_s,
        )
        log.info(
            "version_published",
            version=published.version,
            digest=published.digest,
            num_bytes=published.num_bytes,
            seconds=round(published.seconds, 4),
        )
        return published

    async def _until_accepted(self, offer: PublishVersion, *, deadline: float) -> None:
        reason = "no answer"
        for attempt in itertools.count():
            remaining_s = max(0.0, deadline - time.monotonic())
            try:
                reply = await self._connection.request(offer, timeout_s=remaining_s, resend_s=RESEND_S)
            except DeadlineError:
                raise PublishDeadlineError(version=offer.version, limit_s=self._timeout_s, reason=reason) from None
            except RefusedError as error:
                raise PublishRefusedError(version=offer.version, reason=str(error)) from error
            refusal = _refusal(reply, offer)
            if refusal is None:
                return
            if not refusal.may_retry:
                raise PublishRefusedError(version=offer.version, reason=refusal.reason)
            reason = refusal.reason
            await asyncio.sleep(self._backoff.delay_s(attempt, draw=random.random()))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _refusal(reply: msgspec.Struct, offer: PublishVersion) -> VersionRefused | None:
    match reply:
        case VersionAccepted() if (reply.version, reply.digest) == (offer.version, offer.manifest.digest):
            return None
        case VersionRefused() if reply.version == offer.version:
            return reply
        case _:
            raise RemoteProtocolError(Violation.SCHEMA, f"{reply!r} does not answer the offer of {offer.version}")


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started
