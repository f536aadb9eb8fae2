"""What the ranks report, until all of them have: a step is executed, and a checkpoint written, as a whole."""

import asyncio
import contextlib
from collections import defaultdict
from typing import Final

import msgspec

from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.performer import Performer
from tetrad_learner.coordinator.rank_set import RankSet
from tetrad_telemetry.logs import get_logger
from tetrad_transport import PeerId
from tetrad_wire.messages.membership import Heartbeat, Hello, Role
from tetrad_wire.messages.steps import (
    CheckpointCopied,
    CheckpointFailed,
    CheckpointSaved,
    PublishFailed,
    RankFailed,
    RankReady,
    StateMoved,
    StatePlace,
    StepCredited,
    StepExecuted,
    StepFailed,
    StepProgressed,
    WeightsPublished,
)

log = get_logger(__name__)

RANK_REPORTS: Final = (
    RankReady,
    RankFailed,
    StepProgressed,
    StepCredited,
    StepExecuted,
    StepFailed,
    WeightsPublished,
    PublishFailed,
    CheckpointCopied,
    CheckpointSaved,
    CheckpointFailed,
    StateMoved,
)
# From the first rank's word that a step is poisoned to the end of the run: every rank is to have written its dump.
EVIDENCE_S: Final = 5.0


class RankReports:
    """Turns reports of single ranks into events of the whole set."""

    def __init__(self, performer: Performer) -> None:
        self._performer = performer
        self._executed: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._copied: dict[int, set[int]] = defaultdict(set)
        self._saved: dict[int, set[int]] = defaultdict(set)
        self._moved: dict[StatePlace, set[int]] = defaultdict(set)
        self._failed: set[int] = set()
        self._have_all_failed = asyncio.Event()

    def forget(self) -> None:
        """The set is gone: what only some of its ranks reported means nothing."""
        for reported in (self._executed, self._copied, self._saved, self._moved, self._failed):
            reported.clear()
        self._have_all_failed.clear()

    def give_up(self, reason: str, *, shrink_by: int = 0) -> None:
        """End the set: its ranks wait for each other, and none of them for a dead one longer than this."""
        self.forget()
        self._performer.lose_ranks(reason, shrink_by=shrink_by)

    def take_beat(self, hello: Hello, beat: Heartbeat) -> None:
        """Take what a rank says that it does, and what has become of a host's part of the set."""
        ranks = self._performer.ranks
        if ranks is None:
            return
        number = hello.name.removeprefix("trainer-")
        if hello.role is Role.TRAINER and number.isdigit() and int(number) < ranks.world_size:
            ranks.note(int(number), beat, self._performer.now())
        report = beat.ranks
        if report is not None and report.incarnation == ranks.incarnation and not report.is_running:
            self.give_up(f"{hello.name} ({hello.host}): {report.reason}")

    def take(self, peer: PeerId, body: msgspec.Struct) -> None:
        """Take a report; one from a rank of another set is dropped."""
        ranks = self._performer.ranks
        if ranks is None:
            return
        if isinstance(body, RankReady):
            self._welcome(ranks, peer, body)
        elif isinstance(body, RankFailed):
            if body.incarnation == ranks.incarnation:
                reason = f"rank {body.rank}: {body.reason}; {ranks.waits(self._performer.now())}"
                self.give_up(reason, shrink_by=body.shrink_by)
        elif peer in ranks.peers.values() or _is_handed_over(peer):
            ranks.heard_at = self._performer.now()
            self._take(ranks, body)

    def _welcome(self, ranks: RankSet, peer: PeerId, ready: RankReady) -> None:
        now = self._performer.now()
        self._note_memory(ready)
        if ready.incarnation == ranks.incarnation and ranks.welcome(peer, ready, now):
            log.info("ranks_ready", world_size=ranks.world_size, step=ready.step)
            self._performer.loading.note(ranks.load, is_loaded=True)
            self._performer.handle(ev.RanksReady(now=now, step=ready.step))

    def _take(self, ranks: RankSet, body: msgspec.Struct) -> None:
        now = self._performer.now()
        match body:
            case StepCredited():
                self._performer.reporting.tables.credit(body)
            case StepExecuted():
                self._take_executed(ranks, body)
            case StepFailed():
                self._take_failed(ranks, body)
            case WeightsPublished():
                ranks.is_busy = False
                self._performer.handle(ev.VersionOut(now=now, version=body.version, digest=body.digest))
            case PublishFailed():
                ranks.is_busy = False
                log.warning("publish_failed", version=body.version, reason=body.reason)
                self._performer.handle(ev.PublishFailed(now=now, version=body.version, reason=body.reason))
            case CheckpointCopied():
                self._take_copied(ranks, body)
            case CheckpointSaved():
                self._take_saved(ranks, body)
            case CheckpointFailed():
                self._take_failed_save(ranks, body)
            case StateMoved():
                self._take_moved(ranks, body)

    def _note_memory(self, body: RankReady | StepExecuted | StateMoved) -> None:
        self._performer.memory.note(Role.TRAINER, f"trainer-{body.rank}", body.figures)

    def _take_moved(self, ranks: RankSet, body: StateMoved) -> None:
        self._note_memory(body)
        done = self._moved[body.place]
        done.add(body.rank)
        if len(done) == ranks.world_size:
            del self._moved[body.place]
            ranks.is_busy = False
            log.info("ranks_moved", place=body.place.value, bytes=body.num_bytes, seconds=round(body.seconds, 3))
            self._performer.handle(ev.RanksMoved(now=self._performer.now(), place=body.place))

    def _take_executed(self, ranks: RankSet, body: StepExecuted) -> None:
        performer = self._performer
        done = self._executed[body.step, body.lineage]
        done.add(body.rank)
        self._note_memory(body)
        if body.rank == 0:
            performer.reporting.note_rank(body.step, body.metrics)
        if len(done) == ranks.world_size:
            del self._executed[body.step, body.lineage]
            ranks.is_busy = False
            performer.watch(body.step).mark("executed")
            performer.handle(ev.StepDone(now=performer.now(), step=body.step, lineage=body.lineage))

    def _take_failed(self, ranks: RankSet, body: StepFailed) -> None:
        """End the run once every rank has kept its evidence, or has had the time for it."""
        if not self._failed:
            log.error("step_failed", step=body.step, reason=body.reason, evidence=body.evidence)
            self._performer.spawn(self._poison(body))
        self._failed.add(body.rank)
        if len(self._failed) == ranks.world_size:
            self._have_all_failed.set()

    async def _poison(self, body: StepFailed) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVIDENCE_S):
                await self._have_all_failed.wait()
        now = self._performer.now()
        reason = f"{body.reason}; look into it with `tetrad replay --dump {body.evidence}`"
        self._performer.handle(ev.StepPoisoned(now=now, step=body.step, lineage=body.lineage, reason=reason))

    def _take_copied(self, ranks: RankSet, body: CheckpointCopied) -> None:
        done = self._copied[body.step]
        done.add(body.rank)
        if len(done) == ranks.world_size:
            del self._copied[body.step]
            ranks.is_busy, ranks.writing_since = False, self._performer.now()
            log.info("checkpoint_copied", step=body.step, seconds=round(body.seconds, 3))
            self._performer.handle(ev.CheckpointCopied(now=self._performer.now(), step=body.step))

    def _take_failed_save(self, ranks: RankSet, body: CheckpointFailed) -> None:
        """One rank without its part is enough; the others will report the same."""
        self._copied.pop(body.step, None)
        self._saved.pop(body.step, None)
        ranks.is_busy, ranks.writing_since = False, None
        if self._performer.saving is not None:
            self._performer.fail_checkpoint(body.step, f"rank {body.rank}: {body.reason}")

    def _take_saved(self, ranks: RankSet, body: CheckpointSaved) -> None:
        done = self._saved[body.step]
        done.add(body.rank)
        if len(done) == ranks.world_size:
            del self._saved[body.step]
            ranks.writing_since = None
            self._performer.spawn(self._performer.complete_checkpoint(body.step))


def _is_handed_over(peer: PeerId) -> bool:
    """Whether a report came over a connection that its sender has replaced since.

    After a freeze of ours the ranks have connected anew under their names; ZeroMQ gives what still waits on the old
    connections a made-up name, which begins with a zero byte. Step, lineage and version say whether it still counts.
    """
    return peer.startswith(b"\0")
