"""Watches what the learner waits for: as a page, as metrics, and as a log line when a wait is unusually long.

Owns the history of waits. What is waited for is decided in the core, and said in `wait_words`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from tetrad_learner.coordinator.core import Core
from tetrad_learner.coordinator.core.engines import Engine
from tetrad_learner.coordinator.core.wait_history import WaitHistory
from tetrad_learner.coordinator.core.waiting import Wait, WaitReason, waiting_for
from tetrad_learner.coordinator.rank_set import RankSet
from tetrad_learner.coordinator.registry import Registry
from tetrad_learner.coordinator.wait_words import Cast, culprit, duration, sentence
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.metrics import Metrics, closed
from tetrad_wire.messages.membership import Role

log = get_logger(__name__)

PAGE: Final = "/why"
WAIT_BUCKETS_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class WaitMetrics:
    """The metrics of waits."""

    def __init__(self, metrics: Metrics) -> None:
        labels = {"reason": closed(WaitReason)}
        self.age = metrics.gauges(
            "wait_seconds", "For how long the learner has waited for this; 0 for others.", labels=labels
        )
        self.usual = metrics.gauges(
            "wait_usual_seconds", "Beyond this such a wait is logged: the 99th percentile in this run.", labels=labels
        )
        self.durations = metrics.histograms(
            "wait_duration_seconds", "Waits that have ended.", labels=labels, buckets=WAIT_BUCKETS_S
        )
        self.long = metrics.counters("long_waits_total", "Waits that were longer than usual.", labels=labels)
        self.oldest_lease = metrics.gauge("oldest_lease_seconds", "Age of the lease that was granted first.")


class WaitWatch:
    """Looks at a core now and then."""

    def __init__(
        self, core: Core, registry: Registry, metrics: WaitMetrics, *, ranks: Callable[[], RankSet | None]
    ) -> None:
        self._core = core
        self._registry = registry
        self._metrics = metrics
        self._ranks = ranks
        self._history = WaitHistory()
        self._shown: WaitReason | None = None

    def look(self, now: float) -> Wait:
        """See what is waited for; say so where it takes longer than usual."""
        history, former = self._history, self._history.current
        wait = waiting_for(self._core, now)
        ended_s = history.see(wait, now)
        if former is not None and ended_s is not None:
            self._metrics.durations.with_labels(reason=former.reason).observe(ended_s)
        self._export(wait, now)
        if history.is_to_be_said(now):
            self._metrics.long.with_labels(reason=wait.reason).inc()
            log.warning(
                "long_wait",
                reason=wait.reason.value,
                seconds=round(now - history.since, 1),
                usual_s=round(history.usual_s, 1),
                on=culprit(wait, self._cast(now)),
                why=self._sentence(wait, now),
            )
        return wait

    def page(self, now: float) -> bytes:
        """What is waited for, and what each rollout does, as JSON."""
        wait, core = self.look(now), self._core
        cast, wanted = self._cast(now), core.versions.wanted
        return json.dumps(
            {
                "sentence": self._sentence(wait, now),
                "reason": wait.reason.value,
                "behind": wait.behind.value if wait.behind is not None else None,
                "since_s": round(now - self._history.since, 3),
                "usual_s": round(self._history.usual_s, 3),
                "on": culprit(wait, cast),
                "step": wait.step,
                "lease": _lease_fields(wait, cast),
                "state": core.state.value,
                "steps_sealed": core.steps.sealed,
                "steps_executed": core.steps.executed,
                "num_steps": core.config.num_steps,
                "version": wanted.number if wanted is not None else None,
                "version_step": wanted.step if wanted is not None else None,
                "num_leases": len(core.leases.leases),
                "rollouts": dict(self._rollouts(now)),
            }
        ).encode()

    def _export(self, wait: Wait, now: float) -> None:
        if self._shown is not None and self._shown is not wait.reason:
            self._metrics.age.with_labels(reason=self._shown).set(0)
        self._shown = wait.reason
        self._metrics.age.with_labels(reason=wait.reason).set(now - self._history.since)
        self._metrics.usual.with_labels(reason=wait.reason).set(self._history.usual_s)
        granted = min((lease.granted_at for lease in self._core.leases.leases.values()), default=now)
        self._metrics.oldest_lease.set(now - granted)

    def _sentence(self, wait: Wait, now: float) -> str:
        return sentence(wait, waited_s=now - self._history.since, cast=self._cast(now))

    def _cast(self, now: float) -> Cast:
        registry, ranks = self._registry, self._ranks()
        broadcaster = registry.broadcaster()
        return Cast(
            engines={record.hello.incarnation: record.hello.name for record in registry.of_role(Role.ROLLOUT)},
            broadcaster=broadcaster.hello.name if broadcaster is not None else "",
            broadcaster_silent_s=now - broadcaster.heard_at if broadcaster is not None else 0.0,
            ranks_silent_s=now - ranks.heard_at if ranks is not None and ranks.is_complete else None,
            departed_engine=self._departed(Role.ROLLOUT, now),
            departed_reward=self._departed(Role.REWARD, now),
            departed_broadcaster=self._departed(Role.BROADCASTER, now),
        )

    def _departed(self, role: Role, now: float) -> str:
        gone = self._registry.departed.get(role)
        return f"{gone.name} left {duration(now - gone.at)} ago: {gone.reason}" if gone is not None else ""

    def _rollouts(self, now: float) -> Iterator[tuple[str, dict[str, object]]]:
        for record in self._registry.of_role(Role.ROLLOUT):
            engine = self._core.engines.engines.get(record.hello.incarnation)
            if engine is not None:
                yield record.hello.name, self._rollout_fields(engine, now)

    def _rollout_fields(self, engine: Engine, now: float) -> dict[str, object]:
        wanted, certificate = self._core.versions.wanted, engine.certificate
        made = self._core.versions.step_of(certificate.version) if certificate is not None else None
        return {
            "version": certificate.version if certificate is not None else None,
            "lag_steps": wanted.step - made if wanted is not None and made is not None else None,
            "num_leases": engine.num_leases,
            "silent_s": round(now - engine.heard_at, 3),
            "phase": engine.weights.phase.value if engine.weights is not None else None,
        }


def _lease_fields(wait: Wait, cast: Cast) -> dict[str, object] | None:
    if wait.lease is None:
        return None
    return asdict(wait.lease) | {"engine": cast.engine(wait.lease.engine)}
