"""What the ranks report, until all of them have: a step is executed, and a checkpoint written, as a whole."""

from collections import defaultdict
from typing import Final

import msgspec

from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.performer import Performer
from tetrad_learner.coordinator.rank_set import RankSet
from tetrad_telemetry.logs import get_logger
from tetrad_transport import PeerId
from tetrad_wire.messages.steps import (
    CheckpointSaved,
    PublishFailed,
    RankReady,
    StepExecuted,
    StepFailed,
    StepProgressed,
    WeightsPublished,
)

log = get_logger(__name__)

RANK_REPORTS: Final = (
    RankReady,
    StepProgressed,
    StepExecuted,
    StepFailed,
    WeightsPublished,
    PublishFailed,
    CheckpointSaved,
)


class RankReports:
    """Turns reports of single ranks into events of the whole set."""

    def __init__(self, performer: Performer) -> None:
        self._performer = performer
        self._executed: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._saved: dict[int, set[int]] = defaultdict(set)

    def forget(self) -> None:
        """The set is gone: what only some of its ranks reported means nothing."""
        self._executed.clear()
        self._saved.clear()

    def take(self, peer: PeerId, body: msgspec.Struct) -> None:
        """Take a report; one from a rank of another set is dropped."""
        ranks = self._performer.ranks
        if ranks is None:
            return
        if isinstance(body, RankReady):
            self._welcome(ranks, peer, body)
        elif peer in ranks.peers.values() or _is_handed_over(peer):
            ranks.heard_at = self._performer.now()
            self._take(ranks, body)

    def _welcome(self, ranks: RankSet, peer: PeerId, ready: RankReady) -> None:
        now = self._performer.now()
        if ready.incarnation == ranks.incarnation and ranks.welcome(peer, ready, now):
            log.info("ranks_ready", world_size=ranks.world_size, step=ready.step)
            self._performer.handle(ev.RanksReady(now=now, step=ready.step))

    def _take(self, ranks: RankSet, body: msgspec.Struct) -> None:
        now = self._performer.now()
        match body:
            case StepExecuted():
                self._take_executed(ranks, body)
            case StepFailed():
                log.error("step_failed", step=body.step, reason=body.reason, evidence=body.evidence)
                self._performer.handle(
                    ev.StepPoisoned(now=now, step=body.step, lineage=body.lineage, reason=body.reason)
                )
            case WeightsPublished():
                ranks.is_busy = False
                self._performer.handle(ev.VersionOut(now=now, version=body.version, digest=body.digest))
            case PublishFailed():
                ranks.is_busy = False
                log.warning("publish_failed", version=body.version, reason=body.reason)
                self._performer.handle(ev.PublishFailed(now=now, version=body.version, reason=body.reason))
            case CheckpointSaved():
                self._take_saved(ranks, body)

    def _take_executed(self, ranks: RankSet, body: StepExecuted) -> None:
        performer = self._performer
        done = self._executed[body.step, body.lineage]
        done.add(body.rank)
        if body.rank == 0:
            performer.reporting.note_rank(body.step, body.metrics)
        if len(done) == ranks.world_size:
            del self._executed[body.step, body.lineage]
            ranks.is_busy = False
            performer.watch(body.step).mark("executed")
            performer.handle(ev.StepDone(now=performer.now(), step=body.step, lineage=body.lineage))

    def _take_saved(self, ranks: RankSet, body: CheckpointSaved) -> None:
        done = self._saved[body.step]
        done.add(body.rank)
        if len(done) == ranks.world_size:
            del self._saved[body.step]
            ranks.is_busy = False
            self._performer.spawn(self._performer.complete_checkpoint(body.step))


def _is_handed_over(peer: PeerId) -> bool:
    """Whether a report came over a connection that its sender has replaced since.

    After a freeze of ours the ranks have connected anew under their names; ZeroMQ gives what still waits on the old
    connections a made-up name, which begins with a zero byte. Step, lineage and version say whether it still counts.
    """
    return peer.startswith(b"\0")
