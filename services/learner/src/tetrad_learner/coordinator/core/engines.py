"""Engines: who is there, what they are certified for, how much more they take.

Whoever may take work stands in a queue, least loaded first, so that a choice costs the same however many there are.
Every change of an engine goes through the book, which moves it to its place.

The first engine with new weights would take all the work before the next one has them. So, for a moment, each takes
its share at most: while engines are awaited that have served before. Nobody idles for it; who finishes gets more.
"""

import heapq
from dataclasses import dataclass, field
from typing import Final

from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Certificate, WeightProgress

# The queue is made anew when so many of its entries for each engine can only be outdated ones.
MAX_ENTRIES_PER_ENGINE: Final = 8
# How long others are awaited after the first engine has the new weights; one that is frozen costs no more than this.
AWAIT_S: Final = 5.0


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
    has_served: bool = False
    """Whether it was ever certified."""

    @property
    def load(self) -> float:
        """Share of its credit in use."""
        return self.num_leases / max(self.credit, 1)


@dataclass(slots=True)
class EngineBook:
    """The engines that are alive."""

    demand: int
    """Groups that are leased at a time, at most; what is shared among the engines."""
    engines: dict[Incarnation, Engine] = field(default_factory=dict)
    _digest: str = ""
    """Of the weights that the queue is about."""
    _queue: list[tuple[float, Incarnation]] = field(default_factory=list)
    """A heap. An entry counts while its engine has room and exactly this load; others are passed over."""
    _room: int = 0
    """Sum of what is offered."""
    _awaited: set[Incarnation] = field(default_factory=set)
    """Engines that have served before and not yet with these weights."""
    _share: int = 0
    """Groups that each engine takes at most while others are awaited."""
    _first_at: float | None = None
    """When the first engine had these weights."""

    def join(self, incarnation: Incarnation, *, credit: int, num_leases: int, now: float) -> None:
        """Add an engine, or refresh one that says Hello again."""
        engine = self.engines.setdefault(incarnation, Engine(incarnation, credit, now))
        engine.credit, engine.heard_at, engine.num_leases = credit, now, num_leases
        self._place(engine, is_moved=True)

    def hear(self, engine: Engine, *, certificate: Certificate | None, is_draining: bool, now: float) -> None:
        """The engine lives, and says what it runs."""
        engine.heard_at, engine.certificate, engine.is_draining = now, certificate, is_draining
        engine.has_served = engine.has_served or certificate is not None
        self._place(engine)
        if self.is_certified(engine, self._digest):
            self._first_at = now if self._first_at is None else self._first_at
            self._await_no_more(engine.incarnation)
        elif is_draining:
            self._await_no_more(engine.incarnation)

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
            self._await_no_more(incarnation)

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

    def room(self, digest: str, now: float) -> int:
        """Groups that the certified engines would take now, together."""
        self._turn_to(digest, now)
        if self._first_at is not None and now - self._first_at > AWAIT_S:
            self._await_no_more(*self._awaited)
        return self._room

    def choose(self, digest: str, *, avoided: Incarnation | None, now: float) -> Engine | None:
        """The least loaded certified engine with room; the avoided one only if there is no other."""
        self._turn_to(digest, now)
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

    def _turn_to(self, digest: str, now: float) -> None:
        """Have the queue be about these weights."""
        if digest != self._digest:
            self._digest = digest
            self._await_others(now)
            self._queue_anew()
        elif len(self._queue) > MAX_ENTRIES_PER_ENGINE * (len(self.engines) + 1):
            self._queue_anew()

    def _await_others(self, now: float) -> None:
        """Begin to await who has served before; where nobody has, the run begins, and all who are there."""
        certified = self.certified(self._digest)
        self._first_at = now if certified else None
        willing = [engine for engine in self.engines.values() if not engine.is_draining]
        expected = [engine for engine in willing if engine.has_served] or willing
        self._share = -(-self.demand // max(len(expected), 1))
        self._awaited = {engine.incarnation for engine in expected} - {engine.incarnation for engine in certified}

    def _await_no_more(self, *engines: Incarnation) -> None:
        """Once nobody is awaited any more, each takes as much as it can."""
        was_shared = bool(self._awaited)
        self._awaited.difference_update(engines)
        if was_shared and not self._awaited:
            self._queue_anew()

    def _queue_anew(self) -> None:
        self._queue = []
        for engine in self.engines.values():
            self._place(engine, is_moved=True)

    def _place(self, engine: Engine, *, is_moved: bool = False) -> None:
        """Put an engine where it belongs after a change; `is_moved` if its entry is gone whatever it offers."""
        is_willing = not engine.is_draining and self.is_certified(engine, self._digest)
        limit = min(engine.credit, self._share) if self._awaited else engine.credit
        offered = max(limit - engine.num_leases, 0) if is_willing else 0
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
