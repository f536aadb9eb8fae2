"""A set of trainer ranks: loads, executes, publishes, saves, and may die in the middle of any of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simulation.disk import Weights, digest_of
from simulation.plan import FAULTS_UNTIL_S
from tetrad_learner.coordinator.core import events as ev
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.steps import StatePlace

if TYPE_CHECKING:
    from simulation.world import World

NOTICE_S = 0.5
"""From a death to the coordinator's knowledge of it, at most."""


class RankSet:
    """All ranks of one start; they live and die together."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._is_alive = True
        self._is_copying = False
        self._is_writing = False
        self._weights = Weights("")
        self.place = StatePlace.DEVICE
        self.is_training = False

    @property
    def holds_device(self) -> bool:
        """Whether what they hold, or a part of it, is on the GPUs."""
        return self._is_alive and self.place is StatePlace.DEVICE

    def load(self) -> None:
        """Take the newest checkpoint, or the initial model."""
        self._world.device.check_ranks("ranks start")
        self._work(0.2, 1.0, self._loaded)

    def execute(self, step: int, lineage: int) -> None:
        """Train on a sealed step."""
        world = self._world
        is_next = world.disk.contains(self._weights, step - 1)
        world.expect(is_next, f"step {step} given to ranks at step {self._weights.step}")
        world.expect(step in world.disk.journal, f"step {step} is executed without a journal")
        world.expect(step not in world.disk.image.skipped, f"step {step} is executed, but it was skipped")
        world.expect(not self._is_copying, f"step {step} is executed while its weights are copied")
        self._check_place("train")
        world.device.check_ranks("ranks train")
        self.is_training = True
        self._work(0.2, 1.0, self._executed, step, lineage)

    def publish(self, version: PolicyVersion, step: int) -> None:
        """Hand the weights to the broadcaster."""
        self._check_place("publish")
        held, is_held = self._weights.step, self._world.disk.contains(self._weights, step)
        self._world.expect(is_held, f"version {version} is of step {step}, the ranks hold {held}")
        self._work(0.05, 0.3, self._published, version)

    def save(self, step: int) -> None:
        """Copy the weights, then write them beside other work; the coordinator completes the checkpoint."""
        self._check_place("save")
        held, is_held = self._weights.step, self._world.disk.contains(self._weights, step)
        self._world.expect(is_held, f"checkpoint of step {step}, the ranks hold {held}")
        self._world.expect(not self._is_writing, f"checkpoint of step {step} while another is written")
        self._is_copying = self._is_writing = True
        self._work(0.05, 0.2, self._copied, step)

    def move(self, place: StatePlace) -> None:
        """Bring all that is held to another place; both hold a part of it meanwhile."""
        self._world.expect(not self._is_copying, f"what is being copied is moved to {place}")
        if place is StatePlace.DEVICE:
            self._world.device.check_ranks("ranks take back what they hold")
            self.place = place
        self._work(0.05, 0.5, self._moved, place)

    def _moved(self, place: StatePlace) -> None:
        self.place = place
        self._say(lambda now: ev.RanksMoved(now=now, place=place))

    def _check_place(self, what: str) -> None:
        self._world.expect(self.place is StatePlace.DEVICE, f"ranks {what}, but what they hold is on the host")

    def kill(self) -> None:
        """End them without a word."""
        self._is_alive = False

    def die(self, doing: str) -> None:
        """Die; the coordinator notices a little later."""
        if not self._is_alive:
            return
        world = self._world
        world.note("ranks", f"die, {doing}")
        self._is_alive = False
        world.agenda.after(world.rng.uniform(0.0, NOTICE_S), world.coordinator.lose_ranks, self)

    # ---- what happens inside

    def _work(self, low_s: float, high_s: float, done: Callable[..., None], *args: Any) -> None:
        world = self._world
        seconds = world.rng.uniform(low_s, high_s)
        if world.may_die():
            world.agenda.after(seconds * world.rng.random(), self.die, f"not {done.__name__}")
        else:
            world.agenda.after(seconds, self._finish, done, args)

    def _finish(self, done: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self._is_alive:
            done(*args)

    def _say(self, make: Callable[[float], ev.Event]) -> None:
        self._world.coordinator.hear_ranks(self, make)

    def _loaded(self) -> None:
        world = self._world
        self._weights = world.disk.newest_checkpoint() or Weights(digest_of("initial", world.plan.seed))
        step = self._weights.step
        self._say(lambda now: ev.RanksReady(now=now, step=step))

    def _executed(self, step: int, lineage: int) -> None:
        world = self._world
        self.is_training = False
        if step == world.plan.faults.poisoned_step:
            self._say(lambda now: ev.StepPoisoned(now=now, step=step, lineage=lineage, reason="loss is nan"))
            return
        batch = world.disk.journal[step]
        salt = "" if world.plan.is_reproducible else world.rng.random()
        draws = tuple(dict.fromkeys(draw for draw, _index, _digest in batch))
        history = (*self._weights.history, (step, draws))
        self._weights = Weights(digest_of(self._weights.digest, batch, salt), history, step)
        self._say(lambda now: ev.StepDone(now=now, step=step, lineage=lineage))

    def _published(self, version: PolicyVersion) -> None:
        world = self._world
        digest = self._weights.digest
        is_calm = world.agenda.now > FAULTS_UNTIL_S
        is_taken = is_calm or world.rng.random() >= world.plan.faults.publish_failure
        if is_taken and world.broadcaster.take(version, digest):
            self._say(lambda now: ev.VersionOut(now=now, version=version, digest=digest))
        else:
            world.agenda.after(0.3, self._finish, self._failed, (version,))

    def _failed(self, version: PolicyVersion) -> None:
        self._say(lambda now: ev.PublishFailed(now=now, version=version, reason="not taken"))

    def _copied(self, step: int) -> None:
        self._is_copying = False
        self._say(lambda now: ev.CheckpointCopied(now=now, step=step))
        self._work(0.1, 3.0, self._saved, step, replace(self._weights, step=step))

    def _saved(self, step: int, weights: Weights) -> None:
        world = self._world
        self._is_writing = False
        if world.agenda.now < FAULTS_UNTIL_S and world.rng.random() < world.plan.faults.save_failure:
            self._say(lambda now: ev.CheckpointFailed(now=now, step=step, reason="the disk is full"))
        else:
            world.coordinator.complete_checkpoint(self, step, weights)
