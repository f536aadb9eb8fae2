"""The GPU that ranks and engines share, as it is in truth: who holds what, whatever anybody believes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulation.plan import FAULTS_UNTIL_S
from tetrad_learner.coordinator.core import effects as ef
from tetrad_wire.messages.membership import DeviceReport, EngineMemory

if TYPE_CHECKING:
    from simulation.engine import Engine
    from simulation.world import World

TAKE_S = (0.05, 0.6)
BUILD_S = (0.5, 5.0)
RETRY_S = 0.5


@dataclass(slots=True)
class Device:
    """All GPUs of the run."""

    world: "World"

    def check_ranks(self, what: str) -> None:
        """Ranks are about to allocate or to train: no engine may hold anything."""
        for engine in self.world.engines_ever:
            side = engine.device
            is_free = not engine.is_alive or side is None or side.memory is EngineMemory.ASLEEP
            self.world.expect(is_free, f"{what} while {engine.incarnation} holds {side and side.memory}")

    def check_engine(self, engine: "Engine", memory: EngineMemory) -> None:
        """An engine is about to take memory: of its weights beside ranks that rest, of its KV cache beside none."""
        for ranks in self.world.rank_sets:
            is_fine = not ranks.holds_device or (memory is EngineMemory.WEIGHTS and not ranks.is_training)
            self.world.expect(is_fine, f"{engine.incarnation} takes {memory} while ranks hold the GPU")


class DeviceSide:
    """What one colocated engine holds, and how it obeys."""

    def __init__(self, engine: "Engine", world: "World") -> None:
        self._engine, self._world = engine, world
        self.memory = EngineMemory.ASLEEP
        self.turn = -1
        self._order: ef.EnterPhase | None = None
        self._is_built = False
        self._is_busy = False
        self._problem = ""

    @property
    def can_load(self) -> bool:
        """Whether weights can be committed."""
        return self.memory is not EngineMemory.ASLEEP and not self._is_busy and self._is_built

    @property
    def can_prove(self) -> bool:
        """Whether the engine can compute."""
        return self.memory is EngineMemory.AWAKE and not self._is_busy

    def report(self, digest: str) -> DeviceReport:
        """What the engine says."""
        return DeviceReport(turn=self.turn, memory=self.memory, digest=digest, problem=self._problem)

    def follow(self, order: ef.EnterPhase | None) -> None:
        """Take the newest order; an older one that was late means nothing."""
        if order is not None and (self._order is None or order.turn >= self._order.turn):
            self._order = order
            self._obey()

    def _obey(self) -> None:
        order = self._order
        if order is None or self._is_busy or self._has_obeyed(order):
            return
        self._is_busy = True
        wanted = self._wanted(order)
        if wanted is EngineMemory.ASLEEP:
            self._engine.fall_asleep()
        elif self._takes(wanted):
            self._world.device.check_engine(self._engine, wanted)
            self.memory = wanted
        is_building = wanted is EngineMemory.AWAKE and not self._is_built
        self._engine.later(self._world.rng.uniform(*(BUILD_S if is_building else TAKE_S)), self._done, order)

    def _has_obeyed(self, order: ef.EnterPhase) -> bool:
        return self.turn == order.turn and self.memory is self._wanted(order) and not self._problem

    def _wanted(self, order: ef.EnterPhase) -> EngineMemory:
        """Nothing without admission, and nothing of an engine that is not built but all of it."""
        is_admitted = self._engine.incarnation in order.engines
        is_possible = self._is_built or order.memory is EngineMemory.AWAKE
        return order.memory if is_admitted and is_possible else EngineMemory.ASLEEP

    def _takes(self, wanted: EngineMemory) -> bool:
        return wanted is EngineMemory.AWAKE or self.memory is EngineMemory.ASLEEP

    def _done(self, order: ef.EnterPhase) -> None:
        self._is_busy = False
        is_calm = self._world.agenda.now > FAULTS_UNTIL_S
        if not is_calm and self._world.rng.random() < self._world.plan.faults.load_failure:
            self._problem = "too little memory is free"
            self._engine.later(RETRY_S, self._obey)
            return
        wanted = self._wanted(order)
        if wanted is EngineMemory.AWAKE:
            self._is_built = True
        # What an engine holds may only shrink once it is done.
        self.memory, self.turn, self._problem = wanted, order.turn, ""
        self._engine.note_memory()
        self._obey()
