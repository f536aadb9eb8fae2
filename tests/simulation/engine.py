"""A rollout replica: fetches weights, works on leases, sends each sample until it is acknowledged."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulation.device import DeviceSide
from simulation.disk import digest_of, reward_of
from simulation.plan import FAULTS_UNTIL_S
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_wire.ids import Incarnation, PolicyVersion, RunId, Token
from tetrad_wire.messages.leases import Disposition, FailureKind, Lane
from tetrad_wire.messages.membership import CachePolicy, Certificate

if TYPE_CHECKING:
    from simulation.coordinator import DesiredState
    from simulation.world import World

BEAT_S = 0.8
LOAD_S = (0.05, 0.5)


@dataclass(slots=True)
class Job:
    """A lease at work."""

    grant: ef.Grant
    version: PolicyVersion
    """What the engine ran when it began."""
    digest: str
    left: int
    """Samples not finished yet."""
    progress: int = 0
    failure: FailureKind | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A finished sample that waits for its acknowledgement."""

    grant: ef.Grant
    index: int
    versions: tuple[PolicyVersion, ...]
    grader_version: str
    digest: str


class Engine:
    """One incarnation."""

    def __init__(self, world: "World", *, name: str, incarnation: Incarnation, is_colocated: bool) -> None:
        self._world = world
        self.name = name
        self.incarnation = incarnation
        self.is_alive = True
        self.frozen_until = 0.0
        self.is_draining = False
        self.device = DeviceSide(self, world) if is_colocated else None
        self._committed: ef.Want | None = None
        self._certificate: Certificate | None = None
        self._loading: PolicyVersion | None = None
        self._jobs: dict[Token, Job] = {}
        self._seen: set[Token] = set()
        self._outbox: dict[tuple[Any, int, Token], Sample] = {}

    def begin(self) -> None:
        """Register, and beat from now on."""
        self._hello()
        self._beat()

    def crash(self) -> None:
        """Be gone without a word."""
        self.is_alive = False

    def receive(self, action: Any, *args: Any) -> None:
        """Take a message or a timer: at once, after the thaw, or never."""
        if not self.is_alive:
            return
        wait_s = self.frozen_until - self._world.agenda.now
        if wait_s > 0:
            self._world.agenda.after(wait_s, self.receive, action, *args)
        else:
            action(*args)

    # ---- membership

    def _send(self, make: Any) -> None:
        self._world.network.send(self._world.coordinator.receive, make)

    def _hello(self) -> None:
        credit = self._world.plan.credit
        self._world.network.send(self._world.coordinator.welcome, self, credit)

    def _beat(self) -> None:
        self.later(BEAT_S, self._beat)
        self._pulse()

    def note_memory(self) -> None:
        """What is held has changed: say so, and load or prove what can be now."""
        self._prove()
        self._pulse()

    def _pulse(self) -> None:
        certificate, is_draining = self._certificate, self.is_draining
        progress = {token: job.progress for token, job in self._jobs.items()}
        digest = self._committed.digest if self._committed else ""
        report = self.device.report(digest) if self.device else None
        self._world.network.send(self._world.coordinator.hear, self, certificate, is_draining, progress, report)
        for sample in self._outbox.values():
            self._send_sample(sample)
        if self.is_draining and not self._jobs and not self._outbox:
            self._leave()

    def _leave(self) -> None:
        self._world.note(self.name, "leaves")
        self._world.network.send(self._world.coordinator.say_farewell, self)
        self.is_alive = False

    def later(self, delay_s: float, action: Any, *args: Any) -> None:
        """Act after a while, if this process still lives then."""
        self._world.agenda.after(delay_s, self.receive, action, *args)

    def _between(self, bounds: tuple[float, float]) -> float:
        return self._world.rng.uniform(*bounds)

    # ---- weights

    def follow(self, desired: "DesiredState") -> None:
        """Reconcile with what the coordinator wants."""
        if desired.should_register:
            self._hello()
        if self.device is not None:
            self.device.follow(desired.order)
        wanted = desired.wanted
        if wanted is None or wanted.version == self._loading or not self._can_load:
            return
        if self._committed is None or self._committed.version < wanted.version:
            self._loading = wanted.version
            self.later(self._between(LOAD_S), self._load, wanted)

    @property
    def _can_load(self) -> bool:
        return self.device is None or self.device.can_load

    def fall_asleep(self) -> None:
        """Let go of everything: work, weights and what was proved of them."""
        self._jobs.clear()
        self._committed = self._certificate = self._loading = None

    def _prove(self) -> None:
        """Certify what is committed, where there is memory to compute."""
        committed = self._committed
        if committed is None or (self.device is not None and not self.device.can_prove):
            return
        self._certificate = Certificate(
            run=RunId("run"),
            incarnation=self.incarnation,
            version=committed.version,
            digest=committed.digest,
            cache_policy=CachePolicy.FLUSH,
            is_probe_ok=True,
        )

    def _load(self, wanted: ef.Want) -> None:
        world = self._world
        if self._loading != wanted.version:
            return
        self._loading = None
        if not self._can_load:
            return
        is_calm = world.agenda.now > FAULTS_UNTIL_S
        held = world.broadcaster.held.get(wanted.version)
        if held is None or (self._committed is not None and self._committed.version >= wanted.version):
            return
        if not is_calm and world.rng.random() < world.plan.faults.load_failure:
            self._committed = self._certificate = None  # quarantined: seeded again at the next beat
            return
        world.expect(held == wanted.digest, f"version {wanted.version} is {held}, wanted as {wanted.digest}")
        self._committed = wanted
        self._prove()
        if self.device is not None:
            self._pulse()

    # ---- work

    def take_grant(self, grant: ef.Grant) -> None:
        """Begin a lease, or give it back."""
        if grant.token in self._seen:
            return
        self._seen.add(grant.token)
        certificate = self._certificate
        if certificate is None or not self._is_right(certificate, grant):
            self._give_back(grant.token, FailureKind.INFRA, "not certified for it")
            return
        job = Job(grant, certificate.version, certificate.digest, len(grant.indices))
        self._jobs[grant.token] = job
        sample_s = (0.1, self._world.plan.sample_s)
        if self._happens(self._world.plan.faults.give_back):
            self.later(self._between(sample_s), self._give_up, job)
        for index in grant.indices:
            self.later(self._between(sample_s), self._finish, job, index)

    def _is_right(self, certificate: Certificate, grant: ef.Grant) -> bool:
        """A version at least as new, or the same weights under an older number."""
        is_same = certificate.digest == self._world.watch.digest_of(grant.version)
        return certificate.version >= grant.version or is_same

    def _happens(self, probability: float) -> bool:
        world = self._world
        return world.agenda.now <= FAULTS_UNTIL_S and world.rng.random() < probability

    def take_revoke(self, revoke: ef.Revoke) -> None:
        """Stop; what is finished already is sent on."""
        self._jobs.pop(revoke.token, None)

    def _give_up(self, job: Job) -> None:
        if self._jobs.pop(job.grant.token, None) is not None:
            self._give_back(job.grant.token, FailureKind.INFRA, "had enough")

    def _give_back(self, token: Token, kind: FailureKind, reason: str) -> None:
        self._send(lambda now: ev.LeaseGivenBack(now=now, token=token, kind=kind, reason=reason))

    def _finish(self, job: Job, index: int) -> None:
        if job.grant.token not in self._jobs:
            return
        job.left -= 1
        job.progress += 10
        failure = self._failure(job, index)
        if failure is not None:
            job.failure = job.failure or failure
        else:
            sample = self._sample(job, index)
            self._outbox[job.grant.key, index, job.grant.token] = sample
            self._send_sample(sample)
        self._close(job)

    def _failure(self, job: Job, index: int) -> FailureKind | None:
        plan, key = self._world.plan, job.grant.key
        if plan.is_bad(key.draw) and index == max(job.grant.indices):
            return FailureKind.DATA
        if self._certificate is None:
            return FailureKind.INFRA
        is_exact = plan.config.max_staleness == 0 or key.lane is Lane.EVAL
        is_other = is_exact and self._certificate.digest != job.digest
        is_regraded = self._world.grader is None or job.grant.grader_version not in ("", self._world.grader)
        if (is_other or is_regraded) and not self._happens(plan.faults.sloppy):
            return FailureKind.INFRA
        return None

    def _sample(self, job: Job, index: int) -> Sample:
        world = self._world
        assert self._certificate is not None
        versions = tuple(dict.fromkeys((job.version, self._certificate.version)))
        salt = "" if world.plan.is_reproducible else world.rng.random()
        weights = tuple(dict.fromkeys((job.digest, self._certificate.digest)))
        digest = digest_of(job.grant.key[1:], index, weights, salt)
        return Sample(job.grant, index, versions, world.use_grader(), digest)

    def _send_sample(self, sample: Sample) -> None:
        grant = sample.grant
        self._send(
            lambda now: ev.SampleArrived(
                now=now,
                key=grant.key,
                index=sample.index,
                token=grant.token,
                versions=sample.versions,
                grader_version=sample.grader_version,
                digest=sample.digest,
                reward=reward_of(sample.digest),
            )
        )

    def take_acknowledgement(self, answer: ef.Acknowledge) -> None:
        """The coordinator's durable word about one sample."""
        self._outbox.pop((answer.key, answer.index, answer.token), None)
        job = self._jobs.get(answer.token)
        if job is None:
            return
        if answer.disposition is Disposition.REFUSED:
            del self._jobs[answer.token]
        else:
            self._close(job)

    def _close(self, job: Job) -> None:
        """Forget a job once nothing of it is on its way; a failure is told last."""
        token = job.grant.token
        if job.left or any(key[2] == token for key in self._outbox) or token not in self._jobs:
            return
        del self._jobs[token]
        if job.failure is not None:
            self._give_back(token, job.failure, "a sample failed")
