"""The broadcaster: holds the newest versions while it lives, nothing after a restart."""

from typing import TYPE_CHECKING

from tetrad_learner.coordinator.core import events as ev
from tetrad_wire.ids import PolicyVersion

if TYPE_CHECKING:
    from simulation.world import World

BEAT_S = 1.0
DEPTH = 2


class Broadcaster:
    """One at a time; stateless."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.is_up = True
        self.held: dict[PolicyVersion, str] = {}

    def begin(self) -> None:
        """Say that nothing is held, and go on saying what is."""
        self._say(is_fresh=True)
        self._beat()

    def restart(self) -> None:
        """Be gone for a while and forget everything."""
        world = self._world
        world.note("broadcaster", "restarts")
        self.is_up = False
        self.held.clear()
        world.agenda.after(world.rng.uniform(0.2, 2.0), self._come_back)

    def take(self, version: PolicyVersion, digest: str) -> bool:
        """Keep a version; False if nobody is there."""
        if not self.is_up:
            return False
        self.held[version] = digest
        while len(self.held) > DEPTH:
            del self.held[min(self.held)]
        return True

    def _come_back(self) -> None:
        self.is_up = True
        self._say(is_fresh=True)

    def _beat(self) -> None:
        self._world.agenda.after(BEAT_S, self._beat)
        if self.is_up:
            self._say(is_fresh=False)

    def _say(self, *, is_fresh: bool) -> None:
        held = tuple(self.held)
        self._world.coordinator.receive(lambda now: ev.BroadcasterHolds(now=now, versions=held, is_fresh=is_fresh))
