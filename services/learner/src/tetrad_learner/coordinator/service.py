"""The coordinator: wires sockets, ledger, core and ranks together and runs until the run is over.

No decision is made here: messages become events, effects are performed by `performer`.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import closing, suppress
from typing import Any, Final, assert_never

from tetrad_learner.coordinator.committer import Committer
from tetrad_learner.coordinator.core import Core
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.facts import GroupDropped
from tetrad_learner.coordinator.core.image import restore
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.evaluation import Verdict
from tetrad_learner.coordinator.exit_code import exit_code_of_run
from tetrad_learner.coordinator.holder_processes import is_dead, is_here, process_of
from tetrad_learner.coordinator.performer import Performer
from tetrad_learner.coordinator.rank_reports import RANK_REPORTS, RankReports
from tetrad_learner.coordinator.rank_set import RankSet
from tetrad_learner.coordinator.samples import content_digest, to_payload
from tetrad_learner.coordinator.store import InboxRow
from tetrad_learner.coordinator.wait_watch import WaitWatch
from tetrad_runtime.exits import ExitCode
from tetrad_telemetry.logs import get_logger
from tetrad_transport import ClosedError, Delivery, PeerId
from tetrad_weights.sweeping import sweep
from tetrad_wire.messages.joining import AskRun
from tetrad_wire.messages.leases import (
    Disposition,
    FailureKind,
    Lane,
    LeaseReturned,
    LeasesRenewed,
    SampleFinished,
)
from tetrad_wire.messages.membership import Bye, Heartbeat, Hello, Role, RunState

log = get_logger(__name__)

TICK_S: Final = 0.25
# Silence of busy ranks beyond this ends the set: a micro-batch or a publish takes less.
RANK_SILENCE_S: Final = 600.0
FLUSH_S: Final = 30.0
FAREWELL_S: Final = 0.3
# Of a drain's deadline: a checkpoint that is nearly whole is worth the wait.
CHECKPOINT_GRACE_S: Final = 20.0


class Coordinator:
    """One run, from the first Hello to the END."""

    def __init__(self, performer: Performer, core: Core, waits: WaitWatch) -> None:
        self._performer = performer
        self._core = core
        self._waits = waits
        self._tasks: asyncio.TaskGroup | None = None
        self._ended: ef.ChangeRun | None = None
        self._over = asyncio.Event()
        self._reports = RankReports(performer)
        self._last_tick = 0.0
        self._seen_commits = 0
        performer.handle = self._handle
        performer.spawn = self._spawn
        performer.on_end = self._end
        performer.step_of = core.versions.step_of
        performer.committer = self._committer = Committer(performer.store, performer.perform)

    async def run(self, drain: asyncio.Event) -> ExitCode:
        """Run until the run is over or `drain` is set; a drained run goes on at the next start."""
        # A commit outlives its cancelled task: the ledger must not be closed under it.
        with closing(self._committer):
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                workers = [
                    tasks.create_task(self._committer.run(), name="committer"),
                    tasks.create_task(self._receive(), name="receive"),
                    tasks.create_task(self._tick(), name="tick"),
                ]
                stop = tasks.create_task(drain.wait(), name="drain")
                over = tasks.create_task(self._over.wait(), name="over")
                await asyncio.wait({stop, over}, return_when=asyncio.FIRST_COMPLETED)
                await self._shut_down()
                for task in (*workers, stop, over):
                    task.cancel()
        return exit_code_of_run(self._ended)

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self._core.state

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is not None:
            self._tasks.create_task(work)

    def _handle(self, event: ev.Event, inbox: InboxRow | None = None) -> None:
        self._submit(self._core.handle(event), inbox)

    def _submit(self, outcome: Outcome, inbox: InboxRow | None) -> None:
        drops = [fact for fact in outcome.facts if isinstance(fact, GroupDropped)]
        self._performer.payloads.forget(fact.draw for fact in drops)
        self._performer.reporting.note_drops(fact.reason for fact in drops)
        self._committer.submit(outcome, inbox)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # ---- messages

    async def _receive(self) -> None:
        listener = self._performer.listener
        while True:
            try:
                delivery = await listener.receive()
            except ClosedError:
                return
            self._dispatch(delivery)
            while (more := listener.receive_nowait()) is not None:
                self._dispatch(more)
                await asyncio.sleep(0)

    def _dispatch(self, delivery: Delivery) -> None:
        peer, body = delivery.peer, delivery.message.body
        match body:
            case SampleFinished():
                self._take_sample(peer, body)
            case Heartbeat():
                self._take_heartbeat(delivery, body)
            case LeasesRenewed():
                self._renew(body.incarnation, dict(zip(body.tokens, body.progress, strict=False)))
            case LeaseReturned() if not self._performer.mailroom.is_genuine(body):
                log.warning("lease_return_forged", token=body.token)
            case LeaseReturned():
                log.info("lease_returned", token=body.token, kind=body.kind.value, reason=body.reason)
                self._handle(ev.LeaseGivenBack(now=self._now(), token=body.token, kind=body.kind, reason=body.reason))
            case Hello():
                self._take_hello(delivery, body)
            case AskRun():
                self._performer.mailroom.describe(peer, reply_to=delivery.message.id)
            case Bye():
                self._forget(body.incarnation, body.reason)
            case _ if isinstance(body, RANK_REPORTS):
                self._reports.take(peer, body)
            case _:
                log.warning("message_not_for_the_coordinator", kind=type(body).__name__)

    def _take_sample(self, peer: PeerId, sample: SampleFinished) -> None:
        performer = self._performer
        if not performer.mailroom.is_genuine(sample):
            performer.reporting.samples.with_labels(outcome="forged").inc()
            return
        key = GroupKey(sample.lane, sample.round, sample.draw)
        performer.mailroom.expect_answer(peer, (key, sample.index, sample.token))
        outcome = self._core.handle(
            ev.SampleArrived(
                now=self._now(),
                key=key,
                index=sample.index,
                token=sample.token,
                versions=tuple(span.version for span in sample.spans),
                grader_version=sample.grader_version,
                digest=content_digest(sample),
                reward=sample.reward,
                num_tokens=int(sample.loss_mask.sum()),
            )
        )
        disposition = _disposition(outcome.effects)
        if disposition is None:
            return  # the run is over: its END answers everything
        performer.reporting.samples.with_labels(outcome=disposition.value).inc()
        row = self._keep(sample) if disposition is Disposition.ACCEPTED else None
        self._submit(outcome, row)

    def _keep(self, sample: SampleFinished) -> InboxRow | None:
        if sample.lane is Lane.EVAL:
            if self._performer.evaluation is not None:
                self._performer.evaluation.add(sample.draw, sample.index, Verdict(sample.reward, sample.scores))
                self._performer.keep_answer(sample)
            return None
        self._performer.payloads.add(sample)
        return InboxRow(sample.draw, sample.index, to_payload(sample))

    def _take_hello(self, delivery: Delivery, hello: Hello) -> None:
        performer, peer, now = self._performer, delivery.peer, self._now()
        if hello.incarnation in performer.registry.replaced:
            performer.mailroom.send_away(peer)
            return
        if performer.registry.register(peer, hello, now, key=delivery.key):
            log.info("member_joined", role=hello.role.value, name=hello.name, incarnation=hello.incarnation)
            self._retire_namesakes(hello)
            if hello.role is Role.BROADCASTER:
                self._handle(ev.BroadcasterHolds(now=now, versions=(), is_fresh=True))
            self._tell(peer, hello.role)
        else:
            performer.mailroom.tell(peer)
        if hello.rollout is not None:
            self._handle(
                ev.EngineJoined(
                    now=now,
                    incarnation=hello.incarnation,
                    credit=hello.rollout.credit,
                    process=process_of(hello),
                )
            )

    def _retire_namesakes(self, hello: Hello) -> None:
        """A restarted replica takes the place of its former self at once, not after a silence."""
        for record in list(self._performer.registry.members.values()):
            is_former = record.hello.name == hello.name and record.hello.role is hello.role
            if is_former and record.hello.incarnation != hello.incarnation:
                self._performer.registry.replaced.add(record.hello.incarnation)
                self._forget(record.hello.incarnation, "replaced by a new start")
                if not is_here(process_of(record.hello)):
                    # Nobody can look: whoever starts a replica on another host ends its former self first.
                    self._handle(ev.EngineGone(now=self._now(), incarnation=record.hello.incarnation))

    def _take_heartbeat(self, delivery: Delivery, beat: Heartbeat) -> None:
        performer, peer, now = self._performer, delivery.peer, self._now()
        generation = performer.registry.generation
        record = performer.registry.hear(peer, beat, now, key=delivery.key)
        if record is None:
            if beat.incarnation in performer.registry.replaced:
                performer.mailroom.send_away(peer)
            else:
                performer.mailroom.tell(peer, should_register=True)
            return
        if record.hello.role is Role.ROLLOUT:
            progress = {lease.token: lease.progress for lease in beat.leases}
            self._handle(
                ev.EngineBeat(
                    now=now,
                    incarnation=beat.incarnation,
                    certificate=beat.certificate,
                    is_draining=beat.is_draining,
                    progress=progress,
                    device=beat.device,
                    grading={lease.token: lease.grading for lease in beat.leases if lease.grading is not None},
                    weights=beat.weights,
                )
            )
            if beat.device is not None:
                performer.memory.note(Role.ROLLOUT, record.hello.name, beat.device.figures)
                performer.memory.note_problem(record.hello.name, beat.device.problem)
        elif record.hello.role is Role.BROADCASTER:
            self._handle(ev.BroadcasterHolds(now=now, versions=beat.holds))
        else:
            self._reports.take_beat(record.hello, beat)
        if performer.registry.generation != generation:
            self._tell(peer, record.hello.role)
        else:
            performer.mailroom.tell(peer, should_drain=beat.incarnation in performer.registry.rewards.dismissed)

    def _tell(self, peer: PeerId, role: Role) -> None:
        """Tell everyone of a change among those whom others rely on; otherwise only the one that has changed."""
        if _serves_others(role):
            self._performer.mailroom.tell_everyone()
        else:
            self._performer.mailroom.tell(peer)

    def _renew(self, incarnation: str, progress: dict[Any, int]) -> None:
        self._handle(ev.LeasesProgressed(now=self._now(), progress=progress))
        record = self._performer.registry.members.get(incarnation)  # type: ignore[call-overload]
        if record is not None:
            record.heard_at = self._now()

    def _forget(self, incarnation: Any, reason: str) -> None:
        record = self._performer.registry.forget(incarnation)
        if record is None:
            return
        log.info("member_left", name=record.hello.name, incarnation=incarnation, reason=reason)
        self._performer.registry.note_departure(record, reason, self._now())
        if record.hello.role is Role.ROLLOUT:
            self._handle(ev.EngineLeft(now=self._now(), incarnation=incarnation))
        if _serves_others(record.hello.role):
            self._performer.mailroom.tell_everyone()

    # ---- time

    async def _tick(self) -> None:
        self._last_tick = self._now()
        while True:
            await asyncio.sleep(TICK_S)
            now = self._now()
            self._forgive(now - self._last_tick)
            self._last_tick = now
            self._check_members(now)
            self._bury_holders(now)
            self._swap_rewards()
            self._handle(ev.Ticked(now=now))
            self._export()
            self._waits.look(now)

    def _forgive(self, gap: float) -> None:
        """After a freeze of our own, what waits on the sockets is read before anybody is blamed."""
        registry = self._performer.registry
        if gap > registry.liveness_s / 2:
            log.warning("coordinator_was_frozen", seconds=round(gap, 1))
            registry.extend(gap + registry.liveness_s)
            if self._performer.ranks is not None:
                self._performer.ranks.forgive(gap)

    def _check_members(self, now: float) -> None:
        performer = self._performer
        for record in performer.registry.silent(now):
            self._forget(record.hello.incarnation, f"silent for {now - record.heard_at:.1f} s")
        undelivered, performer.mailroom.undelivered = performer.mailroom.undelivered, []
        for token in undelivered:
            lost = ev.LeaseGivenBack(now=now, token=token, kind=FailureKind.INFRA, reason="the grant was not taken")
            self._handle(lost)
        if performer.ranks is not None:
            fault = performer.ranks.fault(now, silence_s=RANK_SILENCE_S) or self._lost_host(performer.ranks)
            if fault is not None:
                self._reports.give_up(fault)

    def _lost_host(self, ranks: RankSet) -> str | None:
        gone = [host for host in ranks.hosts if host not in self._performer.registry.members]
        return f"{len(gone)} of {len(ranks.hosts)} other hosts of the ranks are gone" if gone else None

    def _bury_holders(self, now: float) -> None:
        """A colocated engine holds its memory until its process is dead, however silent it is."""
        for engine, holder in list(self._core.device.holders.items()):
            if is_dead(holder.process):
                log.info("device_holder_gone", incarnation=engine, process=holder.process)
                self._handle(ev.EngineGone(now=now, incarnation=engine))

    def _swap_rewards(self) -> None:
        """Open new groups on the reward that the run's folder asks for; let go what it has replaced."""
        performer, core = self._performer, self._core
        if performer.rewards.look():
            performer.mailroom.tell_everyone()
        if not performer.rewards.are_retiring:
            return
        for record in performer.rewards.dismiss(leases=core.leases.leases, pinned=core.groups.begun_graders):
            performer.mailroom.tell(record.peer, should_drain=True)

    def _export(self) -> None:
        self._performer.rewards.export()
        reporting = self._performer.reporting
        reporting.open_groups.set(self._core.groups.num_open)
        reporting.leases.set(len(self._core.leases.leases))
        reporting.commits.inc(self._committer.num_commits - self._seen_commits)
        self._seen_commits = self._committer.num_commits

    # ---- the end

    def _end(self, change: ef.ChangeRun) -> None:
        self._ended = change
        self._over.set()

    async def _shut_down(self) -> None:
        """Make everything durable, end the ranks, let the last words out."""
        performer = self._performer
        performer.is_leaving = True
        await self._committer.flush(FLUSH_S)
        await self._await_checkpoint()
        if performer.ranks is not None:
            ranks, performer.ranks = performer.ranks, None
            performer.mailroom.order_ranks(None)
            await ranks.end()
        # What killed ranks left in shared memory belongs to nobody.
        sweep(performer.registry.run)
        performer.mailroom.tell_everyone()
        await asyncio.sleep(FAREWELL_S)

    async def _await_checkpoint(self) -> None:
        """Give a checkpoint that is being written the time to become whole; without it the journal is replayed."""
        performer = self._performer
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECKPOINT_GRACE_S):
                while performer.is_saving:  # noqa: ASYNC110 - it ends in a thread, or with the ranks
                    await asyncio.sleep(0.02)


def _serves_others(role: Role) -> bool:
    """Whether the desired state of others names members of this role; a thousand rollouts are no news to each other."""
    match role:
        case Role.REWARD | Role.BROADCASTER:
            return True
        case Role.ROLLOUT | Role.TRAINER | Role.RELAY | Role.HOST:
            return False
        case _:
            assert_never(role)


def _disposition(effects: list[ef.Effect]) -> Disposition | None:
    return next((effect.disposition for effect in effects if isinstance(effect, ef.Acknowledge)), None)


def restored_core(core: Core, performer: Performer, *, now: float) -> Core:
    """Bring a new core to what the ledger says, and take the inbox back."""
    image = performer.store.image()
    restore(core, image, now=now)
    performer.payloads.restore(performer.store.inbox(group.key.draw for group in core.groups.groups.values()))
    performer.registry.state = core.state
    return core
