"""The only registry of who is there, and what each should do: full desired state, with a generation."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tetrad_learner.coordinator.reward_editions import RewardEditions
from tetrad_transport import PeerId, PublicKey
from tetrad_transport.keys.role import NOBODY
from tetrad_wire.ids import Incarnation, RunId
from tetrad_wire.messages.membership import (
    Desired,
    DeviceOrder,
    Heartbeat,
    Hello,
    RanksOrder,
    RewardOffer,
    RewardRoute,
    Role,
    RouteUse,
    RunState,
    WantedWeights,
)


@dataclass(slots=True)
class MemberRecord:
    """One registered process start."""

    peer: PeerId
    hello: Hello
    heard_at: float
    beat: Heartbeat | None = None
    key: PublicKey = NOBODY
    """Public key by which it is known; empty where no keys are used."""

    @property
    def is_draining(self) -> bool:
        """Whether it wants no new work."""
        return self.beat is not None and self.beat.is_draining


@dataclass(frozen=True, slots=True)
class Departure:
    """A member that is gone."""

    name: str
    reason: str
    at: float


@dataclass(slots=True)
class Registry:
    """Members by incarnation, and the state they should follow."""

    run: RunId
    heartbeat_s: float = 1.0
    liveness_s: float = 6.0
    state: RunState = RunState.STARTING
    weights: WantedWeights | None = None
    device: DeviceOrder | None = None
    """What colocated engines may hold; None where there are none, and before this coordinator has decided."""
    ranks: RanksOrder | None = None
    """What the other hosts of the learner should run; None where there are none, and between two sets of ranks."""
    generation: int = 1
    members: dict[Incarnation, MemberRecord] = field(default_factory=dict)
    _by_role: dict[Role, dict[Incarnation, MemberRecord]] = field(default_factory=lambda: {role: {} for role in Role})
    """The same by role: few reward replicas are asked for often, among many rollouts."""
    departed: dict[Role, Departure] = field(default_factory=dict)
    """Who left last, by role."""
    replaced: set[Incarnation] = field(default_factory=set)
    """Starts whose name another start has taken: one that comes back, late or thawed, is not taken in again."""
    rewards: RewardEditions = field(default_factory=RewardEditions)
    """Which reward replicas grade what."""

    def register(self, peer: PeerId, hello: Hello, now: float, *, key: PublicKey = NOBODY) -> bool:
        """Add or refresh a member; return whether it is new."""
        known = self.members.get(hello.incarnation)
        is_new = known is None or known.hello != hello
        record = MemberRecord(peer, hello, now, known.beat if known else None, key)
        self.members[hello.incarnation] = self._by_role[hello.role][hello.incarnation] = record
        if is_new:
            self.generation += 1
        return is_new

    def hear(self, peer: PeerId, beat: Heartbeat, now: float, *, key: PublicKey = NOBODY) -> MemberRecord | None:
        """Note a heartbeat; None if its sender has never said Hello."""
        record = self.members.get(beat.incarnation)
        if record is None:
            return None
        before = (record.is_draining, record.key)
        record.peer, record.beat, record.heard_at, record.key = peer, beat, now, key
        # A key changes by rotation; whoever connects to its holder has to know.
        if (record.is_draining, record.key) != before:
            self.generation += 1
        return record

    def forget(self, incarnation: Incarnation) -> MemberRecord | None:
        """Remove a member that left or is presumed dead."""
        record = self.members.pop(incarnation, None)
        if record is not None:
            del self._by_role[record.hello.role][incarnation]
            self.generation += 1
        return record

    def note_departure(self, record: MemberRecord, reason: str, now: float) -> None:
        """Remember why a member left, until the next of its role does."""
        self.departed[record.hello.role] = Departure(record.hello.name, reason, now)

    def silent(self, now: float) -> list[MemberRecord]:
        """Members presumed dead."""
        return [record for record in self.members.values() if now - record.heard_at > self.liveness_s]

    def extend(self, seconds: float) -> None:
        """Forgive a gap that was ours."""
        for record in self.members.values():
            record.heard_at += seconds

    def of_role(self, role: Role) -> Iterator[MemberRecord]:
        """Members of one role, oldest first."""
        return iter(self._by_role[role].values())

    def broadcaster(self) -> MemberRecord | None:
        """The newest broadcaster."""
        return next(reversed(list(self.of_role(Role.BROADCASTER))), None)

    def set_state(self, state: RunState) -> None:
        """Change what every member is told about the run."""
        self.state = state
        self.generation += 1

    def want(self, weights: WantedWeights) -> None:
        """Change the policy version that engines should run."""
        self.weights = weights
        self.generation += 1

    def permit(self, order: DeviceOrder) -> None:
        """Change what colocated engines may hold."""
        self.device = order
        self.generation += 1

    def order_ranks(self, order: RanksOrder | None) -> bool:
        """Change what the other hosts of the learner should run; return whether that is news."""
        is_new = order != self.ranks
        self.ranks = order
        self.generation += is_new
        return is_new

    def grader_version(self, env_class: str, *, pinned: str = "") -> str | None:
        """The grader of a group: the pinned one while somebody offers it, else that of the current edition.

        The newest willing replica decides; None without a replica. Empty, and so not pinned, for a class that no
        replica names: it is loaded when its first episode is opened.
        """
        version = None
        for route in self._routes():
            named = named_grader(route.offer, env_class)
            if pinned and named == pinned and route.use is not RouteUse.CLOSING:
                return pinned
            if route.use is RouteUse.OPEN:
                version = version or ""
                version = version if named is None else named
        return version

    def take_over(self) -> bool:
        """Let the wanted reward take over if it is there; return whether it did."""
        records = list(self.of_role(Role.REWARD))
        willing = [record.hello for record in records if not record.is_draining]
        return self.rewards.take_over([record.hello for record in records], willing=willing)

    def desired(self, *, should_register: bool = False, should_drain: bool = False) -> Desired:
        """The full state, as every member gets it."""
        broadcaster = self.broadcaster()
        return Desired(
            generation=self.generation,
            state=self.state,
            run=self.run,
            weights=self.weights,
            device=self.device,
            ranks=self.ranks,
            rewards=tuple(self._routes()),
            broadcaster=broadcaster.hello.endpoint if broadcaster else "",
            broadcaster_key=broadcaster.key if broadcaster else "",
            heartbeat_s=self.heartbeat_s,
            liveness_s=self.liveness_s,
            should_register=should_register,
            should_drain=should_drain,
        )

    def _routes(self) -> Iterator[RewardRoute]:
        for record in self.of_role(Role.REWARD):
            use = self.rewards.use(record.hello, is_draining=record.is_draining)
            if record.hello.reward is not None and use is not None:
                yield RewardRoute(
                    name=record.hello.name,
                    incarnation=record.hello.incarnation,
                    endpoint=record.hello.endpoint,
                    offer=record.hello.reward,
                    public_key=record.key,
                    use=use,
                )


def named_grader(offer: RewardOffer, env_class: str) -> str | None:
    """Return the grader that a replica names for an environment; None where it names none."""
    fitting = [one.grader_version for one in offer.environments if one.name == env_class or offer.serves_any]
    return fitting[-1] if fitting else None
