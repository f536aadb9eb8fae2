"""Has a colocated engine hold of its GPU what the device lease permits, and says what it holds (PROTOCOL §7).

Owns the moment at which the engine is built: not before the lease permits all its memory. Whatever fails is tried
again while it is still ordered. Never takes memory that the newest order does not permit.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from tetrad_rollout.engine.errors import EngineBusyError, EngineError
from tetrad_rollout.engine.protocol import ALL_TAGS, Engine, MemoryTag
from tetrad_telemetry.logs import get_logger
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import DeviceOrder, DeviceReport, EngineMemory

log = get_logger(__name__)

RETRY_S: Final = 0.5
# Requests that were cancelled end at the next token.
BUSY_RETRY_S: Final = 0.02
GIB: Final = 1 << 30

TAGS: Final = {
    EngineMemory.ASLEEP: frozenset[MemoryTag](),
    EngineMemory.WEIGHTS: frozenset({MemoryTag.WEIGHTS}),
    EngineMemory.AWAKE: ALL_TAGS,
}
"""What an engine holds, as its own tags."""


class MemoryShortError(Exception):
    """The device has less free than an engine needs to wake."""


class BuiltOnceEngine(Protocol):
    """An engine that may not be there yet."""

    @property
    def built(self) -> Engine | None:
        """The engine, once it is built."""
        ...

    async def build(self) -> Engine:
        """Build it: from here on it holds all its memory."""
        ...


class Weights(Protocol):
    """Whoever stages, commits and proves the engine's weights."""

    @property
    def committed_digest(self) -> str:
        """Of the weights that the engine holds; empty without any."""
        ...

    async def stand_down(self) -> None:
        """Stop what is under way; nothing is committed or certified any more."""
        ...

    def stand_by(self, memory: EngineMemory) -> None:
        """Go on with so much memory: commit with that of the weights, prove and serve with all."""
        ...


class DeviceKeeper:
    """Obeys the device lease for one engine."""

    def __init__(
        self,
        place: BuiltOnceEngine,
        weights: Weights,
        *,
        incarnation: Incarnation,
        on_lost: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._place = place
        self._weights = weights
        self._incarnation = incarnation
        self._on_lost = on_lost
        self._on_change = on_change
        self._order: DeviceOrder | None = None
        self._changed = asyncio.Event()
        self._memory = EngineMemory.ASLEEP
        self._is_taking = False
        """Whether some of what it says it holds may not be there yet."""
        self._turn = -1
        self._problem = ""

    def follow(self, order: DeviceOrder | None) -> None:
        """Take the newest order; one that is older than what was followed means nothing."""
        if order is None or (self._order is not None and order.turn < self._order.turn) or order == self._order:
            return
        self._order = order
        self._changed.set()

    def report(self) -> DeviceReport:
        """What is held now."""
        engine = self._place.built
        return DeviceReport(
            turn=self._turn,
            memory=self._memory,
            digest=self._weights.committed_digest,
            problem=self._problem,
            figures=engine.memory() if engine is not None else None,
        )

    async def run(self) -> None:
        """Obey each order, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while (order := self._order) is not None and not self._has_obeyed(order):
                if not await self._try(order):
                    await asyncio.sleep(RETRY_S)

    def _has_obeyed(self, order: DeviceOrder) -> bool:
        return self._turn == order.turn and self._memory is self._wanted(order) and not self._problem

    def _wanted(self, order: DeviceOrder) -> EngineMemory:
        """Nothing before this start is admitted; and an engine that is not built takes all its memory or none."""
        is_admitted = self._incarnation in order.engines
        is_possible = self._place.built is not None or order.memory is EngineMemory.AWAKE
        return order.memory if is_admitted and is_possible else EngineMemory.ASLEEP

    async def _try(self, order: DeviceOrder) -> bool:
        wanted = self._wanted(order)
        # What cannot even be built ends this process; nobody knows what a half built engine holds.
        caught = (EngineError, MemoryShortError) if self._place.built is not None else (MemoryShortError,)
        try:
            await self._hold(wanted)
        except caught as error:
            problem = f"{type(error).__name__}: {error}"
            if problem != self._problem:
                log.warning("device_order_failed", turn=order.turn, memory=wanted.value, problem=problem)
            self._problem = problem
            self._on_change()
            return False
        self._turn, self._problem = order.turn, ""
        log.info("device_order_obeyed", turn=order.turn, memory=wanted.value)
        self._on_change()
        return True

    async def _hold(self, wanted: EngineMemory) -> None:
        """Hold exactly what is wanted: first let go of what is too much, then take what is missing."""
        engine = self._place.built
        if engine is not None and TAGS[self._memory] - TAGS[wanted]:
            self._on_lost()
            await self._weights.stand_down()
            await self._sleep(engine)
        if self._is_taking or TAGS[wanted] - TAGS[self._memory]:
            await self._take(engine, wanted)
        if wanted is not EngineMemory.ASLEEP:
            self._weights.stand_by(wanted)

    async def _sleep(self, engine: Engine) -> None:
        while True:
            try:
                await engine.sleep(ALL_TAGS)
            except EngineBusyError:
                # Its work is cancelled; the lease has a deadline for engines that cannot let go.
                await asyncio.sleep(BUSY_RETRY_S)
                continue
            self._memory, self._is_taking = EngineMemory.ASLEEP, False
            return

    async def _take(self, engine: Engine | None, wanted: EngineMemory) -> None:
        missing = TAGS[wanted] if self._is_taking else TAGS[wanted] - TAGS[self._memory]
        if engine is not None:
            check_free(engine, missing)
        # Said before it is so: nobody may believe in less than there is.
        self._memory, self._is_taking = wanted, True
        await (self._place.build() if engine is None else engine.wake(missing))
        self._is_taking = False


def check_free(engine: Engine, tags: frozenset[MemoryTag]) -> None:
    """Raise MemoryShortError, with both numbers and the key to lower, where less is free than an engine needs."""
    needed, figures = engine.needed_to_wake(tags), engine.memory()
    if needed <= figures.free:
        return
    names = " and ".join(sorted(tag.value for tag in tags))
    raise MemoryShortError(
        f"needs {needed / GIB:.2f} GiB ({needed} bytes) for {names}, {figures.free / GIB:.2f} GiB "
        f"({figures.free} bytes) of {figures.total / GIB:.2f} GiB are free on {figures.gpu or 'this host'}; lower "
        "generator.gpu_memory_utilization, or end what else holds memory there"
    )
