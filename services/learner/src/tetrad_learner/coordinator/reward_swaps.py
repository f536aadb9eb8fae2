"""Follows the run's record of its reward: lets a wanted implementation take over, and the old one leave.

Owns the look at the file and the metrics. What is decided is in `reward_editions`.
"""

from collections.abc import Iterable
from pathlib import Path

from tetrad_config import ConfigError
from tetrad_config.reward_record import read_record, record_path
from tetrad_learner.coordinator.registry import MemberRecord, Registry
from tetrad_learner.coordinator.reward_editions import Standing
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.metrics import Metrics, closed
from tetrad_wire.ids import Token
from tetrad_wire.messages.membership import Role

log = get_logger(__name__)

Signature = tuple[int, int] | None
"""Of a file: what changes whenever it is replaced. None where there is none."""


class RewardSwapMetrics:
    """Make one per process, in main."""

    def __init__(self, metrics: Metrics) -> None:
        self.edition = metrics.gauge("reward_edition", "Reward implementation that new groups open on.")
        self.replicas = metrics.gauges(
            "reward_replicas", "Reward replicas registered.", labels={"standing": closed(tuple(Standing))}
        )


class RewardSwaps:
    """One per coordinator."""

    def __init__(self, metrics: RewardSwapMetrics, registry: Registry, run_dir: Path) -> None:
        self._metrics = metrics
        self._registry = registry
        self._run_dir = run_dir
        self._seen = _signature(record_path(run_dir))
        self._read()

    def look(self) -> bool:
        """Follow the record where it or the replicas have changed; return whether others must be told."""
        registry, signature = self._registry, _signature(record_path(self._run_dir))
        before = registry.rewards.current
        if signature != self._seen:
            self._seen = signature
            self._read()
        registry.take_over()
        is_changed = registry.rewards.current != before
        if is_changed:
            registry.generation += 1
            log.info("reward_swapped", edition=registry.rewards.current.number, before=before.number)
        return is_changed

    @property
    def are_retiring(self) -> bool:
        """Whether replaced replicas are there that have not been dismissed."""
        rewards, hellos = self._registry.rewards, [one.hello for one in self._registry.of_role(Role.REWARD)]
        left = (hello for hello in hellos if hello.incarnation not in rewards.dismissed)
        return any(rewards.standing(hello) is Standing.RETIRING for hello in left)

    def dismiss(self, *, leases: Iterable[Token], pinned: Iterable[str]) -> list[MemberRecord]:
        """Return the replaced replicas that no group needs any more; they are to be told to leave."""
        rewards, records = self._registry.rewards, list(self._registry.of_role(Role.REWARD))
        free = rewards.dismiss([record.hello for record in records], leases=leases, pinned=pinned)
        for hello in free:
            log.info("reward_replica_dismissed", name=hello.name, incarnation=hello.incarnation)
        return [self._registry.members[hello.incarnation] for hello in free]

    def export(self) -> None:
        """Bring the metrics up to date."""
        self._metrics.edition.set(self._registry.rewards.current.number)
        standings = [self._registry.rewards.standing(one.hello) for one in self._registry.of_role(Role.REWARD)]
        for standing in Standing:
            self._metrics.replicas.with_labels(standing=standing.value).set(standings.count(standing))

    def _read(self) -> None:
        try:
            self._registry.rewards.follow(read_record(self._run_dir))
        except (ConfigError, OSError) as error:
            # What was read before stays in force; whoever wrote this waits for an effect, and says that none came.
            log.error("reward_record_unreadable", error=str(error))  # noqa: TRY400 - the text says it all


def _signature(path: Path) -> Signature:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
