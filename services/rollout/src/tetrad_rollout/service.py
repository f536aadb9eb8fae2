"""The rollout service: takes leases while its engine is certified, and gives back what it cannot finish.

Owns the jobs under way. Stateless but for the weights it holds: it may join or leave at any second.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from tetrad_rollout.device_keeper import DeviceKeeper
from tetrad_rollout.group import GroupJob, SampleFailedError, Workshop
from tetrad_rollout.metrics import RolloutMetrics
from tetrad_rollout.occupation import OccupationClock
from tetrad_rollout.outbox import Outbox
from tetrad_rollout.weight_keeper import WeightKeeper
from tetrad_telemetry.logs import get_logger
from tetrad_transport.membership import Member
from tetrad_wire import Message
from tetrad_wire.ids import Incarnation, Token
from tetrad_wire.messages.leases import (
    FailureKind,
    LeaseGranted,
    LeaseReturned,
    LeaseRevoked,
    SampleFinished,
    SamplesAcknowledged,
)
from tetrad_wire.messages.membership import Desired, Grading, Heartbeat, LeaseProgress

log = get_logger(__name__)

RESEND_TICK_S: Final = 0.5
# What a leaving replica may still finish; the rest is handed back.
DRAIN_S: Final = 20.0


@dataclass(slots=True)
class _Held:
    job: GroupJob
    task: asyncio.Task[None]


class RolloutService:
    """Leases in, finished samples out."""

    def __init__(
        self,
        *,
        incarnation: Incarnation,
        credit: int,
        keeper: WeightKeeper,
        metrics: RolloutMetrics,
        occupation: OccupationClock,
        device: DeviceKeeper | None = None,
    ) -> None:
        self._incarnation = incarnation
        self._credit = credit
        self._keeper = keeper
        self._metrics = metrics
        self._occupation = occupation
        self._device = device
        self._held: dict[Token, _Held] = {}
        self._member: Member | None = None
        self._shop: Workshop | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._is_draining = False
        self._leave = asyncio.Event()
        self.outbox = Outbox(self._send_sample)

    def attach(self, member: Member, shop: Workshop) -> None:
        """Complete the composition: membership and workshop refer back to the service."""
        self._member, self._shop = member, shop

    async def run(self, drain: asyncio.Event) -> None:
        """Serve until `drain` is set, then finish or hand back what is held and leave."""
        assert self._member is not None
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            background = [
                tasks.create_task(self._member.run(), name="member"),
                tasks.create_task(self._keeper.run(), name="weights"),
                tasks.create_task(self._resend(), name="outbox"),
            ]
            if self._device is not None:
                background.append(tasks.create_task(self._device.run(), name="device"))
            asked = [tasks.create_task(drain.wait()), tasks.create_task(self._leave.wait())]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            await self._drain()
            for task in (*background, *asked):
                task.cancel()

    # ---- what the coordinator says

    def on_desired(self, desired: Desired) -> None:
        """Follow the full desired state."""
        if self._shop is not None:
            self._shop.rewards.follow(desired.rewards)
        self._keeper.follow(desired)
        if self._device is not None:
            self._device.follow(desired.device)
        if desired.should_drain:
            # Another start has taken this replica's name.
            self._leave.set()
        if desired.state.is_over:
            self.forsake_all()

    def on_message(self, message: Message) -> None:
        """Take leases, revocations and acknowledgements."""
        match message.body:
            case LeaseGranted():
                self._accept(message.body)
            case LeaseRevoked():
                self._cancel(message.body.token)
            case SamplesAcknowledged():
                for refused in self.outbox.take_acks(message.body.acks):
                    log.warning("sample_refused", draw=refused.draw, index=refused.index, reason=refused.reason)
            case _:
                log.warning("message_not_for_a_rollout", kind=type(message.body).__name__)

    def pulse(self, generation: int) -> Heartbeat:
        """The heartbeat: certificate, held leases and how far they are."""
        return Heartbeat(
            incarnation=self._incarnation,
            generation=generation,
            credit=0 if self._is_draining else self._credit - len(self._held),
            certificate=self._keeper.certificate,
            leases=tuple(_progress_of(token, held.job) for token, held in self._held.items()),
            is_draining=self._is_draining,
            device=self._device.report() if self._device is not None else None,
            weights=self._keeper.progress,
        )

    # ---- leases

    def _accept(self, lease: LeaseGranted) -> None:
        if lease.token in self._held:
            return
        if self._is_draining or self._shop is None or self._tasks is None:
            self._return(lease, FailureKind.INFRA, "this replica is leaving")
        elif len(self._held) >= self._credit:
            self._return(lease, FailureKind.INFRA, f"{self._credit} leases are held; that is the credit")
        else:
            job = GroupJob(lease, self._shop)
            self._held[lease.token] = _Held(job, self._tasks.create_task(self._work(job)))
            self._note_held()

    async def _work(self, job: GroupJob) -> None:
        token = job.lease.token
        failure: SampleFailedError | None = None
        outcome = "aborted"
        try:
            failure = await job.run()
            outcome = "ok" if failure is None else "error"
        finally:
            self._held.pop(token, None)
            self._note_held()
            self._metrics.groups.with_labels(outcome=outcome).inc()
            self._metrics.group_seconds.observe(time.monotonic() - job.started_at)
        if failure is not None:
            log.warning("lease_failed", token=token, draw=job.lease.draw, reason=str(failure))
            self._return(job.lease, failure.kind, str(failure))

    def _note_held(self) -> None:
        self._metrics.queued.set(len(self._held))
        self._occupation.hold(len(self._held))

    def forsake_all(self) -> None:
        """The engine loses its memory: whatever is held cannot be finished; the coordinator knows."""
        for token in list(self._held):
            self._cancel(token)

    def _cancel(self, token: Token) -> None:
        held = self._held.get(token)
        if held is not None:
            held.task.cancel()

    def _return(self, lease: LeaseGranted, kind: FailureKind, reason: str) -> None:
        assert self._member is not None
        self._member.send(LeaseReturned(token=lease.token, nonce=lease.nonce, kind=kind, reason=reason[:500]))

    # ---- samples

    def deliver(self, sample: SampleFinished) -> None:
        """Send a finished sample; keep it until the coordinator has it."""
        self._metrics.count(sample)
        self.outbox.post(sample, time.monotonic())

    def _send_sample(self, sample: SampleFinished) -> bool:
        assert self._member is not None
        return self._member.send(sample)

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(RESEND_TICK_S)
            self.outbox.resend(time.monotonic())

    async def _drain(self) -> None:
        """Finish what can be finished in time, hand the rest back, wait for the last acknowledgements."""
        assert self._member is not None
        self._is_draining = True
        self._member.beat_now()
        deadline = time.monotonic() + DRAIN_S
        tasks = [held.task for held in self._held.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_S)
        for token, held in list(self._held.items()):
            self._cancel(token)
            self._return(held.job.lease, FailureKind.INFRA, "this replica is leaving")
        while len(self.outbox) and time.monotonic() < deadline:  # noqa: ASYNC110 - acks come as messages
            await asyncio.sleep(0.05)
        self._member.leave("drained")


def _progress_of(token: Token, job: GroupJob) -> LeaseProgress:
    """How far a lease is, and what of it waits for a grade."""
    grading = None
    if job.grading:
        since, replica = min(job.grading.values())
        grading = Grading(num_turns=len(job.grading), replica=replica, seconds=time.monotonic() - since)
    return LeaseProgress(token=token, progress=job.progress, grading=grading)
