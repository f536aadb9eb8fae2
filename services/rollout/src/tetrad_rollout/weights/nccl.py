"""Bytes by collectives from a sender of the broadcaster into a receiver of ours, for an engine on another GPU.

Owns the receiver, a process that is killed with its group whenever anything about it fails or is late; the engine's own
processes never take part. What the receiver holds in the end is handed on like a segment of the broadcaster's or a
rank's memory, and copied and digested by the engine: with NCCL on its GPU, with gloo on the host.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from tetrad_rollout.weights.transport import Request
from tetrad_runtime.group_child import GroupChild
from tetrad_telemetry.logs import get_logger
from tetrad_transport import DeadlineError
from tetrad_weights.errors import GroupBrokenError, GroupUnusableError
from tetrad_weights.group_orders import Form, Formed, Moved, Receive, ReceivePart
from tetrad_weights.group_sides import GLOO, NCCL, RECEIVER, SENDER, Bucket, buckets, child_environment, overridden
from tetrad_weights.owners import pid_space, this_process
from tetrad_weights.sweeping import sweep
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.groups import FollowSending, FormGroup, GroupOpened, GroupRefused, SendingEnded
from tetrad_wire.messages.weights import SegmentHandle, VersionOffered

# The sender may take longer to start than we do; asking again is answered alike.
RESEND_S: Final = 2.0
# So that our own end, which knows the phase and the bucket, is the first to be late.
SLACK_S: Final = 2.0
PEER: Final = f"the broadcaster (rank {SENDER} of the group)"

T = TypeVar("T")
TakePart = Callable[[Bucket, SegmentHandle], Awaitable[None]]
"""Copies a bucket out of the receiver's memory, which is then written again."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """A group that was proved."""

    group: str
    """Name."""
    seconds: float
    """From the first question to the proof."""
    bytes_per_s: float
    """Of its test."""
    bucket_bytes: int
    """Of a version, in each collective."""


class Nccl:
    """One engine's end of its group: at most one at a time, made when it is first needed and again when it broke."""

    def __init__(self, *, incarnation: Incarnation, replica: str, environ: Mapping[str, str] | None = None) -> None:
        self._ask: Request | None = None
        self._incarnation = incarnation
        self._replica = replica
        self._environ = dict(os.environ if environ is None else environ)
        self._attempts = itertools.count(1)
        self._receiver: GroupChild | None = None
        self._last: GroupChild | None = None
        """The newest one, also when it is killed: it knows what it was about."""
        self.link: Link | None = None
        """The group that versions can be sent in now; None without one."""

    async def form(self, *, is_on_gpu: bool, start_s: float, limit_s: float) -> Link:
        """Make a group and prove it; raises GroupUnusableError or GroupBrokenError, and then there is none.

        Each process may take `start_s` to be there: it loads torch. What they then do together, `limit_s`.
        """
        await self.end()
        self._last = None
        began = time.monotonic()
        attempt = next(self._attempts)
        try:
            receiver = await self._started(NCCL if is_on_gpu else GLOO, attempt, timeout_s=start_s)
            opened = await self._opened(receiver, attempt, timeout_s=start_s)
            formed = await receiver.ask(_joining(opened, timeout_s=limit_s), Formed, timeout_s=limit_s)
        except BaseException:
            await self.end()
            raise
        link = Link(opened.group, time.monotonic() - began, formed.bytes_per_s, opened.bucket_bytes)
        self.link = link
        log.info(
            "group_formed",
            group=link.group,
            backend=receiver.side.backend,
            attempt=attempt,
            seconds=round(link.seconds, 3),
            gigabytes_per_s=round(link.bytes_per_s / 1e9, 3),
            pid=receiver.pid,
        )
        return link

    async def receive(self, offer: VersionOffered, *, deadline: float) -> Moved:
        """Have every byte received, and return where it lies.

        Raises GroupUnusableError where memory is short, GroupBrokenError where the group broke or was late; then the
        receiver is killed, and nothing of ours writes any more.
        """
        return await self._watched(self._received(offer, deadline=deadline), offer, deadline=deadline)

    async def receive_parts(self, offer: VersionOffered, take: TakePart, *, deadline: float) -> None:
        """Have every byte received, one bucket after the other, in host memory; raises like `receive`.

        The sender waits with the next bucket until the last one was taken.
        """
        await self._watched(self._received_parts(offer, take, deadline=deadline), offer, deadline=deadline)

    async def _watched(self, work: Coroutine[None, None, T], offer: VersionOffered, *, deadline: float) -> T:
        receiving = asyncio.create_task(work)
        following = asyncio.create_task(self._followed(offer, deadline=deadline + SLACK_S))
        try:
            # A sender that dies is heard of at once: not every backend's receiver notices.
            await asyncio.wait({receiving, following}, return_when=asyncio.FIRST_EXCEPTION)
            # What our own end says of itself is nearer to the cause.
            for task in (receiving, following):
                if task.done():
                    task.result()
            return receiving.result()
        except BaseException:
            await self.end()
            raise
        finally:
            for task in (receiving, following):
                task.cancel()
            await asyncio.gather(receiving, following, return_exceptions=True)

    @property
    def progress(self) -> str:
        """Where our end of the group is, or was when it was killed, and between which ranks; empty without one."""
        if self._last is None:
            return ""
        return f"{self._last.at}, rank {SENDER} to rank {RECEIVER}"

    def ask_by(self, request: Request) -> None:
        """Ask the broadcaster this way from now on."""
        self._ask = request

    def close(self) -> None:
        """Let the receiver end by itself, where nobody can wait for it."""
        if self._receiver is not None:
            self._receiver.let_go()

    async def end(self) -> None:
        """Kill the receiver; idempotent."""
        receiver, self._receiver, self.link = self._receiver, None, None
        if receiver is not None:
            await receiver.kill()
            # On the host its buffer has a name, which a killed process leaves behind.
            await asyncio.to_thread(sweep)

    async def _started(self, backend: str, attempt: int, *, timeout_s: float) -> GroupChild:
        for name, theirs in overridden(self._environ).items():
            log.warning("variable_overridden", variable=name, value=theirs, ours="0")
        self._receiver = self._last = await GroupChild.start(
            "receiver",
            (backend, self._replica, f"{self._incarnation}-{attempt}"),
            peer=PEER,
            environment=child_environment(self._environ),
            timeout_s=timeout_s,
        )
        return self._receiver

    async def _opened(self, receiver: GroupChild, attempt: int, *, timeout_s: float) -> GroupOpened:
        process = this_process()
        question = FormGroup(
            incarnation=self._incarnation,
            name=self._replica,
            attempt=attempt,
            side=receiver.side,
            pid=process.pid,
            started=process.started,
            pid_space=pid_space(),
        )
        began = time.monotonic()
        try:
            reply = await self._asked(question, timeout_s=timeout_s, resend_s=RESEND_S)
        except DeadlineError:
            seconds = time.monotonic() - began
            raise GroupBrokenError(peer=PEER, at="asking", seconds=seconds, reason="it did not answer") from None
        match reply:
            case GroupOpened():
                return reply
            case GroupRefused(may_retry=True):
                seconds = time.monotonic() - began
                raise GroupBrokenError(peer=PEER, at="asking", seconds=seconds, reason=reply.reason)
            case GroupRefused():
                raise GroupUnusableError(peer=PEER, reason=reply.reason)
            case _:
                raise RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} answers no question for a group")

    async def _asked(self, question: FormGroup | FollowSending, *, timeout_s: float, resend_s: float) -> msgspec.Struct:
        assert self._ask is not None, "`ask_by` was called"
        return await self._ask(question, timeout_s=timeout_s, resend_s=resend_s)

    async def _received(self, offer: VersionOffered, *, deadline: float) -> Moved:
        assert self._receiver is not None, "an offer by nccl names our group"
        order = Receive(num_bytes=offer.manifest.num_bytes)
        return await self._receiver.ask(order, Moved, timeout_s=deadline - time.monotonic())

    async def _received_parts(self, offer: VersionOffered, take: TakePart, *, deadline: float) -> None:
        assert self._receiver is not None, "an offer by nccl names our group"
        assert self.link is not None, "it has a link"
        parts = list(buckets(offer.manifest.num_bytes, self.link.bucket_bytes))
        for number, part in enumerate(parts, start=1):
            order = ReceivePart(
                num_bytes=part.end - part.start,
                room_bytes=parts[0].end,
                bucket=number,
                num_buckets=len(parts),
            )
            moved = await self._receiver.ask(order, Moved, timeout_s=deadline - time.monotonic())
            assert moved.segment is not None, "parts are received in host memory"
            await take(part, moved.segment)

    async def _followed(self, offer: VersionOffered, *, deadline: float) -> None:
        """Return when the sender has sent everything; raise when it never will."""
        question = FollowSending(group=offer.group, version=offer.version, incarnation=self._incarnation)
        began = time.monotonic()
        try:
            reply = await self._asked(question, timeout_s=max(0.0, deadline - began), resend_s=RESEND_S)
        except DeadlineError:
            seconds = time.monotonic() - began
            raise GroupBrokenError(
                peer=PEER, at="sending", seconds=seconds, reason="it did not say how that ends"
            ) from None
        if not isinstance(reply, SendingEnded) or (reply.group, reply.version) != (offer.group, offer.version):
            raise RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} answers no question about a sending")
        if reply.problem:
            seconds = time.monotonic() - began
            raise GroupBrokenError(peer=PEER, at="sending", seconds=seconds, reason=reply.problem)


def _joining(opened: GroupOpened, *, timeout_s: float) -> Form:
    return Form(
        group=opened.group,
        host=opened.host,
        port=opened.port,
        bucket_bytes=opened.bucket_bytes,
        test_bytes=opened.test_bytes,
        timeout_s=timeout_s,
    )


def memory_of(offer: VersionOffered, moved: Moved) -> VersionOffered:
    """The offer as it stands once the receiver has the bytes: of a segment or of GPU memory on this host."""
    return msgspec.structs.replace(offer, segment=moved.segment, device=moved.device)
