"""Senders: one process for each engine that takes its weights by collectives, and the group that it makes.

Each may be killed with its group at any moment: then one engine asks for a new one, and no other notices. Owns the
processes. Replies when there is something to say; must not know any socket.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from tetrad_broadcaster.metrics import BroadcasterMetrics, Failure
from tetrad_broadcaster.rights import Reader
from tetrad_runtime.group_child import GroupChild
from tetrad_telemetry.logs import get_logger
from tetrad_weights.errors import GroupBrokenError, GroupUnusableError, TransportUnusableError
from tetrad_weights.group_orders import Form, Formed, Listen, Listening, Moved, Send
from tetrad_weights.group_sides import (
    BUCKET_BYTES,
    GLOO,
    HOST_BUCKET_BYTES,
    child_environment,
    difference,
    overridden,
)
from tetrad_weights.owners import Process
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.groups import FollowSending, FormGroup, GroupOpened, GroupRefused, SendingEnded
from tetrad_wire.messages.weights import PullVersion

Reply = Callable[[msgspec.Struct], None]

# Each is a process with a context on the GPU; far more than one host has engines beside it.
MAX_SENDERS: Final = 64
HOST_TEST_BYTES: Final = 4 << 20
DEVICE_TEST_BYTES: Final = 64 << 20
"""Over NVLink less would measure the launch of the collective."""

log = get_logger(__name__)


class Standing(StrEnum):
    """Whether a version can be sent to an engine now."""

    NONE = "none"
    """It must ask for a group first."""
    FORMING = "forming"
    READY = "ready"


@dataclass(eq=False, slots=True)
class _Sender:
    """One engine's."""

    reader: Reader
    question: FormGroup
    group: str
    child: GroupChild | None = None
    answer: GroupOpened | GroupRefused | None = None
    """To the question; None while it is not known."""
    is_ready: bool = False
    task: asyncio.Task[None] | None = None
    """That forms or sends."""
    version: PolicyVersion | None = None
    """That was sent last, or is being sent."""
    attempt: int = 0
    """Of the pull that it was sent for."""
    ended: SendingEnded | None = None
    askers: list[Reply] = field(default_factory=list)
    """Who wait for the answer to the question."""
    followers: list[Reply] = field(default_factory=list)
    """Who wait for the end of the sending."""

    def tell(self, answer: GroupOpened | GroupRefused) -> None:
        """Answer the question."""
        self.answer = answer
        while self.askers:
            self.askers.pop()(answer)

    def finish(self, ended: SendingEnded) -> None:
        """Say how the sending has ended."""
        self.ended = ended
        while self.followers:
            self.followers.pop()(ended)


class Senders:
    """All of them, by the incarnation of the engine."""

    def __init__(
        self,
        *,
        incarnation: str,
        host: str,
        timeout_s: float,
        metrics: BroadcasterMetrics,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._incarnation = incarnation
        self._host = host
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._environ = dict(os.environ if environ is None else environ)
        self._senders: dict[Incarnation, _Sender] = {}
        self.gpu = ""
        """UUID of the GPU that versions lie on, where senders belong; empty for the first that is visible."""

    def __len__(self) -> int:
        """Groups that work."""
        return sum(sender.is_ready for sender in self._senders.values())

    def form(self, question: FormGroup, reader: Reader, reply: Reply, tasks: asyncio.TaskGroup) -> None:
        """Make a group, and reply when the receiver may come; the same question gets the same answer."""
        known = self._senders.get(question.incarnation)
        if known is not None and known.question.attempt == question.attempt:
            # Only the newest of repeated questions is still waited for.
            known.askers[:] = [reply]
            if known.answer is not None:
                known.tell(known.answer)
            return
        if known is None and len(self._senders) >= MAX_SENDERS:
            reason = f"{MAX_SENDERS} senders are there; that is the limit"
            reply(GroupRefused(attempt=question.attempt, reason=reason, may_retry=True))
            return
        group = f"{self._incarnation}.{question.incarnation}.{question.attempt}"
        sender = _Sender(reader=reader, question=question, group=group, askers=[reply])
        self._senders[question.incarnation] = sender
        sender.task = tasks.create_task(self._form(sender, known), name=f"group-{group}")

    def follow(self, question: FollowSending, reply: Reply) -> None:
        """Reply once the sending of a version has ended, or at once that there is none."""
        sender = self._senders.get(question.incarnation)
        if sender is None or (sender.group, sender.version) != (question.group, question.version):
            problem = "it is not being sent in this group (any more)"
            reply(SendingEnded(group=question.group, version=question.version, problem=problem))
            return
        sender.followers[:] = [reply]
        if sender.ended is not None:
            sender.finish(sender.ended)

    def standing(self, incarnation: Incarnation, group: str) -> Standing:
        """Whether a version could be sent in an engine's group."""
        sender = self._senders.get(incarnation)
        if sender is None or sender.group != group or not self._may_send(sender):
            return Standing.NONE
        return Standing.READY if sender.is_ready else Standing.FORMING

    def has_sent_for(self, pull: PullVersion) -> bool:
        """Whether just this question was answered by a sending, which a slow answer must not end."""
        sender = self._senders.get(pull.incarnation)
        asked = (pull.group, pull.version, pull.attempt)
        return pull.attempt > 0 and sender is not None and (sender.group, sender.version, sender.attempt) == asked

    def send(self, pull: PullVersion, memory: Callable[[], Awaitable[Send]], tasks: asyncio.TaskGroup) -> None:
        """Begin to send a version in a group that is ready; `memory` says where it lies."""
        sender = self._senders[pull.incarnation]
        sender.version, sender.attempt, sender.ended = pull.version, pull.attempt, None
        sender.task = tasks.create_task(self._send(sender, pull.version, memory), name=f"send-{sender.group}")

    def release(self, incarnation: Incarnation) -> None:
        """An engine has no use for what is being sent to it: a sending in its middle cannot be ended otherwise."""
        sender = self._senders.get(incarnation)
        if sender is not None and sender.is_ready and sender.task is not None and not sender.task.done():
            self.end(incarnation)

    def end(self, incarnation: Incarnation) -> None:
        """Kill an engine's sender, whatever it does."""
        sender = self._senders.pop(incarnation, None)
        if sender is not None:
            _let_go(sender)

    def end_dead(self, is_alive: Callable[[Process], bool]) -> None:
        """Kill the senders of engines that are gone."""
        for incarnation, sender in list(self._senders.items()):
            if sender.reader.is_dead(is_alive):
                log.info("sender_ended", replica=sender.reader.replica, group=sender.group, reason="its engine is gone")
                self.end(incarnation)

    def close(self) -> None:
        """Kill all."""
        for incarnation in list(self._senders):
            self.end(incarnation)

    def _may_send(self, sender: _Sender) -> bool:
        if sender.child is None or not sender.is_ready:
            return not isinstance(sender.answer, GroupRefused)
        # Memory of another GPU than the group's is no memory that it can send.
        is_in_place = not (self.gpu and sender.child.side.gpu) or sender.child.side.gpu == self.gpu
        return sender.child.is_alive and is_in_place

    async def _form(self, sender: _Sender, former: _Sender | None) -> None:
        if former is not None:
            _let_go(former)
        attempt = sender.question.attempt
        try:
            await self._formed(sender)
        except GroupUnusableError as error:
            log.warning("group_refused", replica=sender.reader.replica, group=sender.group, reason=error.reason)
            sender.tell(GroupRefused(attempt=attempt, reason=error.reason))
        except GroupBrokenError as error:
            self._broke(sender, error)
            # Where it was opened before, the receiver finds out by itself.
            sender.tell(GroupRefused(attempt=attempt, reason=str(error), may_retry=True))
        finally:
            if not sender.is_ready and sender.child is not None:
                await sender.child.kill()

    async def _formed(self, sender: _Sender) -> None:
        question, timeout_s = sender.question, self._timeout_s
        for name, theirs in overridden(self._environ).items():
            log.warning("variable_overridden", variable=name, value=theirs, ours="0")
        sender.child = child = await GroupChild.start(
            "sender",
            (question.side.backend, self.gpu),
            peer=sender.reader.replica,
            environment=child_environment(self._environ),
            timeout_s=timeout_s,
        )
        if found := difference(child.side, question.side):
            raise GroupUnusableError(peer=sender.reader.replica, reason=found)
        is_on_host = question.side.backend == GLOO
        listening = await child.ask(Listen(host=self._host, timeout_s=timeout_s), Listening, timeout_s=timeout_s)
        opened = GroupOpened(
            group=sender.group,
            host=self._host,
            port=listening.port,
            bucket_bytes=HOST_BUCKET_BYTES if is_on_host else BUCKET_BYTES,
            test_bytes=HOST_TEST_BYTES if is_on_host else DEVICE_TEST_BYTES,
        )
        sender.tell(opened)
        form = Form(
            group=opened.group,
            host=opened.host,
            port=opened.port,
            bucket_bytes=opened.bucket_bytes,
            test_bytes=opened.test_bytes,
            timeout_s=timeout_s,
        )
        formed = await child.ask(form, Formed, timeout_s=timeout_s)
        sender.is_ready = True
        self._metrics.link_tested(sender.reader.replica, bytes_per_s=formed.bytes_per_s)
        log.info(
            "group_formed",
            replica=sender.reader.replica,
            group=sender.group,
            backend=question.side.backend,
            seconds=round(formed.seconds, 3),
            gigabytes_per_s=round(formed.bytes_per_s / 1e9, 3),
            pid=child.pid,
        )

    async def _send(self, sender: _Sender, version: PolicyVersion, memory: Callable[[], Awaitable[Send]]) -> None:
        assert sender.child is not None, "a group that is ready has a sender"
        ended = SendingEnded(group=sender.group, version=version, problem="the sender was ended")
        try:
            order = await memory()
            moved = await sender.child.ask(order, Moved, timeout_s=self._timeout_s)
            ended = msgspec.structs.replace(ended, problem="", seconds=moved.seconds)
        except GroupBrokenError as error:
            self._broke(sender, error)
            ended = msgspec.structs.replace(ended, problem=str(error), seconds=error.seconds)
        except TransportUnusableError as error:
            log.warning("sending_failed", replica=sender.reader.replica, version=version, reason=str(error))
            ended = msgspec.structs.replace(ended, problem=str(error))
        finally:
            sender.finish(ended)

    def _broke(self, sender: _Sender, error: GroupBrokenError) -> None:
        self._metrics.failed(Failure.GROUP)
        log.warning(
            "group_broken",
            replica=sender.reader.replica,
            group=sender.group,
            at=error.at,
            seconds=round(error.seconds, 3),
            reason=error.reason,
        )


def _let_go(sender: _Sender) -> None:
    if sender.task is not None:
        sender.task.cancel()
    if sender.child is not None:
        sender.child.kill_now()
