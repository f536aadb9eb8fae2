"""A core and short words for what happens to it; keeps the image that its facts add up to."""

from collections.abc import Sequence
from typing import Any, TypeVar

from tetrad_learner.coordinator.core import Core, CoreConfig
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.image import LedgerImage, restore
from tetrad_learner.coordinator.core.keys import GroupKey, training
from tetrad_testing.builders import a_certificate
from tetrad_wire.ids import Incarnation, PolicyVersion, Token
from tetrad_wire.messages.leases import Disposition, FailureKind

Kind = TypeVar("Kind")
ENGINE = Incarnation("engine-1")


class Harness:
    """One life of a core after the other, on one image."""

    def __init__(self, *, evaluation: Sequence[int] = (), **config: Any) -> None:
        sizes = {"batch_size": 2, "group_size": 2, "num_steps": 3}
        self.config = CoreConfig(**sizes | config)
        self.evaluation = evaluation
        self.image = LedgerImage()
        self.effects: list[ef.Effect] = []
        self.now = 0.0
        self.grader: str | None = "g1"
        self.epoch = 0
        self.restart()

    def restart(self) -> None:
        """Begin a new life from what is durable."""
        self.epoch += 1
        self.effects.clear()
        self.core = Core(
            self.config, epoch=self.epoch, grader_of=lambda _key, _pinned: self.grader, evaluation_sizes=self.evaluation
        )
        restore(self.core, self.image, now=self.now)

    def do(self, event: type[ev.Event], /, **fields: Any) -> list[ef.Effect]:
        """Let an event happen; return its effects."""
        outcome = self.core.handle(event(now=self.now, **fields))
        self.image.apply_all(outcome.facts)
        self.effects.extend(outcome.effects)
        return outcome.effects

    def take(self, kind: type[Kind]) -> list[Kind]:
        """All effects of a kind that were not taken yet."""
        taken = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return taken

    # ---- what usually happens

    def publish(self, digest: str) -> PolicyVersion:
        """The version that the core had published comes out."""
        (publish,) = self.take(ef.Publish)
        self.do(ev.VersionOut, version=publish.version, digest=digest)
        return publish.version

    def begin(self, *, step: int = 0, digest: str = "w0") -> PolicyVersion:
        """Ranks are ready at `step` and their weights are out."""
        self.take(ef.StartRanks)
        self.do(ev.RanksReady, step=step)
        return self.publish(digest)

    def certify(self, engine: Incarnation = ENGINE, *, digest: str = "w0", credit: int = 8) -> None:
        """An engine joins, or beats, with a certificate."""
        if engine not in self.core.engines.engines:
            self.do(ev.EngineJoined, incarnation=engine, credit=credit)
        self.do(ev.EngineBeat, incarnation=engine, certificate=a_certificate(incarnation=engine, digest=digest))

    def sample(
        self,
        key: GroupKey | int,
        index: int,
        *,
        version: int = 1,
        token: int = 0,
        grader: str = "g1",
        digest: str | None = None,
        reward: float = 0.0,
    ) -> Disposition:
        """A sample arrives; return what becomes of it."""
        effects = self.do(
            ev.SampleArrived,
            key=training(key) if isinstance(key, int) else key,
            index=index,
            token=Token(token),
            versions=(PolicyVersion(version),),
            grader_version=grader,
            digest=digest or f"{key}/{index}",
            reward=reward,
        )
        return next(effect.disposition for effect in effects if isinstance(effect, ef.Acknowledge))

    def fill(self, *draws: int, version: int = 1) -> None:
        """All samples of some groups arrive."""
        for draw in draws:
            for index in range(self.config.group_size):
                assert self.sample(draw, index, version=version) is Disposition.ACCEPTED

    def grade(self, draw: int, *rewards: float, version: int = 1) -> None:
        """All samples of a group arrive with these rewards."""
        for index, reward in enumerate(rewards):
            assert self.sample(draw, index, version=version, reward=reward) is Disposition.ACCEPTED

    def journal(self) -> None:
        """The batch that the core had written is durable."""
        (journal,) = self.take(ef.Journal)
        self.do(ev.StepJournaled, step=journal.step, journal_hash="h")

    def execute(self) -> None:
        """The ranks execute what they were given."""
        (execute,) = self.take(ef.Execute)
        self.do(ev.StepDone, step=execute.step, lineage=execute.lineage)

    def train(self, *draws: int, version: int, digest: str) -> PolicyVersion:
        """A whole step."""
        self.certify(digest=f"w{version - 1}")
        self.fill(*draws, version=version)
        self.journal()
        self.execute()
        return self.publish(digest)

    def give_back(self, token: Token, kind: FailureKind = FailureKind.DATA) -> None:
        """An engine returns a lease."""
        self.do(ev.LeaseGivenBack, token=token, kind=kind, reason="broken")

    def wait(self, seconds: float, *, step: float = 1.0) -> None:
        """Time passes in ticks."""
        until = self.now + seconds
        while self.now < until:
            self.now += step
            self.do(ev.Ticked)
