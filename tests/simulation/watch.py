"""The observer: believes nothing that the core says about itself, only what it records and asks for."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from simulation import effect_rules, fact_rules, projection, sampling_rules
from simulation.evaluation import EvaluationAccount
from tetrad_learner.coordinator.core import Core
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.image import GroupImage, LedgerImage
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.tables import LeaseState, SlotState
from tetrad_wire.ids import Incarnation, PolicyVersion, Token
from tetrad_wire.messages.membership import Certificate, RunState

if TYPE_CHECKING:
    from simulation.world import World

COMPARISON_SHARE = 0.02
"""Events after which the core is compared with what it has recorded."""


class Watch:
    """Checks every fact and effect of every life of the coordinator."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.config = world.plan.config
        self.image = LedgerImage()
        """What the facts of this life add up to, durable or not."""
        self.core: Core
        self.last_token = Token(0)
        self.graders: dict[tuple[int, int], str] = {}
        self.rewards: dict[tuple[int, int], float] = {}
        self._event: ev.Event | None = None
        self._spared_until = 0.0

    def begin(self, core: Core, *, epoch: int) -> None:
        """A coordinator has been restored; check what it made of the ledger."""
        self.core = core
        self.image = image = self.world.disk.read()
        self.open = {draw for draw, group in image.groups.items() if is_open(group)}
        held = {token: lease for token, lease in image.leases.items() if lease.state is LeaseState.HELD}
        self.owner: dict[int, Token] = {lease.draw: token for token, lease in held.items()}
        self.certificates: dict[Incarnation, Certificate | None] = {}
        self.wanted = core.versions.wanted.number if core.versions.wanted else None
        self.evaluation = EvaluationAccount(self.world.plan.evaluation_sizes)
        self.batches: dict[int, tuple[int, ...]] = {}
        self.copies: dict[int, tuple[int, ...]] = {}
        """How often the groups of each batch are to be trained on."""
        self.replaced: dict[int, frozenset[int]] = {}
        """In whose place the copies of each batch are."""
        self.refused: dict[int, bool] = {}
        """Groups that this event's facts filter, and whether their rewards differ."""
        self.reported: set[int] = set()
        self.is_over = False
        self.is_stopped = image.state is RunState.DRAINING and len(image.steps) < self.config.num_steps
        self._spared_until = self.world.agenda.now + self.config.liveness_s
        self.compare()

    def thaws_at(self, moment: float) -> None:
        """The coordinator does not listen until then; it may blame nobody for that time."""
        if moment - self.world.agenda.now > self.config.liveness_s:
            self._spared_until = moment + self.config.liveness_s

    def see(self, event: ev.Event, outcome: Outcome) -> None:
        """Check what an event led to."""
        self._event = event
        self._note(event)
        for fact in outcome.facts:
            fact_rules.check(self, fact)
            self.image.apply(fact)
            if isinstance(fact, fa.SlotFilled) and isinstance(event, ev.SampleArrived):
                self.graders[fact.draw, fact.index] = event.grader_version
                self.rewards[fact.draw, fact.index] = event.reward
        sampling_rules.check_outcome(self, outcome)
        for effect in outcome.effects:
            effect_rules.check_decided(self, effect)
        if self.world.rng.random() < COMPARISON_SHARE:
            self.compare()

    def perform(self, effect: ef.Effect) -> None:
        """Check that what is told to the world is durable."""
        effect_rules.check_performed(self, effect)

    def compare(self) -> None:
        """The core's state is what its facts add up to."""
        found = projection.difference(projection.of_core(self.core), projection.of_image(self.image))
        self.expect(not found, f"the core differs from its facts: {found}")

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.EngineBeat():
                self.certificates[event.incarnation] = event.certificate
            case ev.EngineLeft():
                self.certificates.pop(event.incarnation, None)
            case ev.StopAsked():
                self.is_stopped = True
            case ev.LeaseGivenBack():
                self.evaluation.over(event.token)

    # ---- questions of the rules

    def expect(self, is_so: object, otherwise: str) -> None:
        """Raise Broken with the reason unless it is so."""
        self.world.expect(is_so, otherwise)

    def digest_of(self, version: PolicyVersion) -> str:
        """Digest of a published version; empty if there is none."""
        known = self.image.versions.get(version)
        return known.digest if known is not None else ""

    def versions_of(self, draw: int) -> set[PolicyVersion]:
        """Versions that drew the samples of a group."""
        return {version for slot in self.image.groups[draw].slots for version in slot.versions}

    def is_complete(self, draw: int) -> bool:
        """Whether nothing of a group is missing any more."""
        return all(slot.state is not SlotState.EMPTY for slot in self.image.groups[draw].slots)

    def is_flat(self, draw: int) -> bool:
        """Whether the samples of a group have one reward, and there is more than one."""
        slots = self.image.groups[draw].slots
        rewards = [self.rewards[draw, index] for index, slot in enumerate(slots) if slot.state is SlotState.FILLED]
        return len(rewards) > 1 and len(set(rewards)) == 1

    def check_lag(self, version: PolicyVersion, step: int, what: str) -> None:
        """A version may serve a step if it is at most S steps behind."""
        digest = self.digest_of(version)
        self.expect(digest, f"{what}: version {version} was never published")
        # After a skipped step the same weights have a newer number.
        lag = step - 1 - max(other.step for other in self.image.versions.values() if other.digest == digest)
        limit = self.config.max_staleness
        self.expect(lag <= limit, f"{what}: version {version} lags {lag} steps at step {step}, the limit is {limit}")

    def check_wanted(self, versions: Iterable[PolicyVersion], what: str) -> None:
        """Without slack every token is drawn by the wanted weights."""
        wanted = self.digest_of(self.wanted) if self.wanted is not None else None
        for version in versions:
            self.expect(self.digest_of(version) == wanted, f"{what}: version {version} is not the wanted {self.wanted}")

    def check_trainable(self, draw: int, step: int) -> None:
        """A group that is sealed is complete, fresh, and graded by one implementation."""
        slots = self.image.groups[draw].slots
        filled = [index for index, slot in enumerate(slots) if slot.state is SlotState.FILLED]
        self.expect(self.is_complete(draw), f"draw {draw} is sealed in step {step} with {len(filled)} samples")
        need = self.config.trainable_size
        self.expect(len(filled) >= need, f"draw {draw} is sealed in step {step} with {len(filled)} of {need} samples")
        graders = {self.graders[draw, index] for index in filled}
        self.expect(len(graders) == 1, f"draw {draw} is graded by {sorted(graders)}")
        for version in self.versions_of(draw):
            self.check_lag(version, step, f"draw {draw}")

    def check_forgiven(self, token: Token) -> None:
        """After its own gap the coordinator lets nothing expire for one liveness period."""
        is_blamed = isinstance(self._event, ev.Ticked) and self.world.agenda.now < self._spared_until
        self.expect(not is_blamed, f"lease {token} expires for a silence that was the coordinator's own")


def is_open(group: GroupImage) -> bool:
    """Whether some slot of a group has no fate yet."""
    return any(slot.state in (SlotState.EMPTY, SlotState.FILLED) for slot in group.slots)
