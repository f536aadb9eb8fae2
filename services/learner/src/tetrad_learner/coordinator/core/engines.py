"""Engines: who is there, what they are certified for, how much more they take.

Whoever may take work stands in a queue, least loaded first, so that a choice costs the same however many there are.
Every change of an engine goes through the book, which moves it to its place.
"""

import heapq
from dataclasses import dataclass, field
from typing import Final

from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Certificate, WeightProgress

# The queue is made anew when so many of its entries for each engine can only be outdated ones.
MAX_ENTRIES_PER_ENGINE: Final = 8


@dataclass(slots=True)
class Engine:
    """One incarnation of a rollout replica."""

    incarnation: Incarnation
    credit: int
    heard_at: float
    certificate: Certificate | None = None
    is_draining: bool = False
    num_leases: int = 0
    offered: int = 0
    """Groups that the book counts on it to take now."""
    weights: WeightProgress | None = None
    """How far it is with the wanted version, by its last word."""

    @property
    def free(self) -> int:
        """Groups it would take now."""
        return self.credit - self.num_leases

    @property
    def load(self) -> float:
        """Share of its credit in use."""
        return self.num_leases / max(self.credit, 1)


@dataclass(slots=True)
class EngineBook:
    """The engines that are alive."""

    engines: dict[Incarnation, Engine] = field(default_factory=dict)
    _digest: str = ""
    """Of the weights that the queue is about."""
    _queue: list[tuple[float, Incarnation]] = field(default_factory=list)
    """A heap. An entry counts while its engine has room and exactly this load; others are passed over."""
    _room: int = 0
    """Sum of what is offered."""

    def join(self, incarnation: Incarnation, *, credit: int, num_leases: int, now: float) -> None:
        """Add an engine, or refresh one that says Hello again."""
        engine = self.engines.setdefault(incarnation, Engine(incarnation, credit, now))
        engine.credit, engine.heard_at, engine.num_leases = credit, now, num_leases
        self._place(engine, is_moved=True)

    def hear(self, engine: Engine, *, certificate: Certificate | None, is_draining: bool, now: float) -> None:
        """The engine lives, and says what it runs."""
        engine.heard_at, engine.certificate, engine.is_draining = now, certificate, is_draining
        self._place(engine)

    def take(self, engine: Engine) -> None:
        """The engine has one lease more."""
        engine.num_leases += 1
        self._place(engine)

    def give_back(self, incarnation: Incarnation) -> None:
        """The engine has one lease less, if it is still there."""
        engine = self.engines.get(incarnation)
        if engine is not None:
            engine.num_leases -= 1
            self._place(engine)

    def leave(self, incarnation: Incarnation) -> None:
        """Forget an engine."""
        engine = self.engines.pop(incarnation, None)
        if engine is not None:
            self._room -= engine.offered

    def certified(self, digest: str) -> list[Engine]:
        """Engines that run exactly these weights and may take work."""
        return [engine for engine in self.engines.values() if self.is_certified(engine, digest)]

    def is_certified(self, engine: Engine, digest: str) -> bool:
        """Whether the engine's certificate proves these weights."""
        certificate = engine.certificate
        return (
            certificate is not None
            and certificate.incarnation == engine.incarnation
            and certificate.digest == digest
            and certificate.is_probe_ok
        )

    def room(self, digest: str) -> int:
        """Groups that the certified engines would take now, together."""
        self._turn_to(digest)
        return self._room

    def choose(self, digest: str, *, avoided: Incarnation | None) -> Engine | None:
        """The least loaded certified engine with room; the avoided one only if there is no other."""
        self._turn_to(digest)
        chosen, passed = self._first(), []
        while chosen is not None and chosen.incarnation == avoided:
            passed.append(heapq.heappop(self._queue))
            chosen = self._first()
        for entry in passed:
            heapq.heappush(self._queue, entry)
        return self._first() if chosen is None and passed else chosen

    def silent(self, now: float, liveness_s: float) -> list[Engine]:
        """Engines presumed dead."""
        return [engine for engine in self.engines.values() if now - engine.heard_at > liveness_s]

    def extend(self, seconds: float) -> None:
        """Forgive a gap that was ours."""
        for engine in self.engines.values():
            engine.heard_at += seconds

    def _turn_to(self, digest: str) -> None:
        """Have the queue be about these weights."""
        if digest != self._digest or len(self._queue) > MAX_ENTRIES_PER_ENGINE * (len(self.engines) + 1):
            self._digest, self._queue = digest, []
            for engine in self.engines.values():
                self._place(engine, is_moved=True)

    def _place(self, engine: Engine, *, is_moved: bool = False) -> None:
        """Put an engine where it belongs after a change; `is_moved` if its entry is gone whatever it offers."""
        is_willing = not engine.is_draining and self.is_certified(engine, self._digest)
        offered = max(engine.free, 0) if is_willing else 0
        is_moved = is_moved or offered != engine.offered
        self._room += offered - engine.offered
        engine.offered = offered
        if offered and is_moved:
            heapq.heappush(self._queue, (engine.load, engine.incarnation))

    def _first(self) -> Engine | None:
        while self._queue:
            load, incarnation = self._queue[0]
            engine = self.engines.get(incarnation)
            if engine is not None and engine.offered and engine.load == load:
                return engine
            heapq.heappop(self._queue)
        return None
