"""Policy versions: numbers that never repeat, and what they stand for."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from tetrad_learner.coordinator.core.effects import Publish, Want
from tetrad_learner.coordinator.core.facts import VersionMinted, VersionPublished
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_wire.ids import PolicyVersion

PUBLISH_RETRY_S: Final = 1.0
# A silent broadcaster is asked for what it holds; a younger answer may still be on its way.
REPUBLISH_AFTER_S: Final = 5.0


@dataclass(slots=True)
class Version:
    """What one number stands for."""

    number: PolicyVersion
    lineage: int
    step: int
    """The weights after this training step."""
    digest: str = ""
    """Empty until published."""


@dataclass(slots=True)
class VersionBook:
    """All versions of a run; the ledger is their authority."""

    out: Outcome
    versions: dict[PolicyVersion, Version] = field(default_factory=dict)
    current: Version | None = None
    """The newest number."""
    wanted: Version | None = None
    """What engines should run now."""
    publishing: Version | None = None
    """Handed to the ranks and not yet out."""
    is_lost: bool = False
    """Whether the broadcaster does not hold what is wanted."""
    num_failures: int = 0
    """Publishes in a row that failed."""
    retry_at: float = 0.0
    published_at: float = 0.0
    """When the newest one came out, or was asked for again."""

    def mint(self, *, lineage: int, step: int) -> Version:
        """Take the next number for the weights after `step`."""
        number = PolicyVersion((self.current.number if self.current else 0) + 1)
        self.current = self.versions[number] = Version(number, lineage, step)
        self.out.record(VersionMinted(version=number, lineage=lineage, step=step))
        return self.current

    def publish(self, version: Version) -> None:
        """Have it published; the ranks are idle."""
        self.publishing = version
        self.out.do(Publish(version=version.number, step=version.step))

    def publish_newest(self, *, lineage: int, step: int) -> None:
        """Have these weights published, under the newest number if it is theirs, else under the next."""
        self.publish(self.newest(lineage=lineage, step=step) or self.mint(lineage=lineage, step=step))

    def fail(self, number: PolicyVersion, now: float) -> int:
        """The version under way was not taken: it is tried again later; return how many failed in a row."""
        if self.publishing is None or self.publishing.number != number:
            return 0
        self.publishing = None
        self.num_failures += 1
        self.retry_at = now + PUBLISH_RETRY_S
        return self.num_failures

    def note_held(self, numbers: Collection[PolicyVersion]) -> None:
        """The broadcaster says what it holds."""
        self.is_lost = self.wanted is not None and self.wanted.number not in numbers

    def is_seed_due(self, now: float, *, is_fresh: bool, lineage: int, step: int) -> bool:
        """Whether the broadcaster lacks what is wanted, and ranks at that step can give it again."""
        wanted = self.wanted
        if wanted is None or not self.is_lost or self.publishing is not None:
            return False
        is_theirs = (wanted.lineage, wanted.step) == (lineage, step)
        return is_theirs and (is_fresh or now - self.published_at > REPUBLISH_AFTER_S)

    def publish_again(self, now: float) -> None:
        """Have what is wanted published under its number."""
        assert self.wanted is not None
        self.published_at = now
        self.publish(self.wanted)

    def came_out(self, number: PolicyVersion, digest: str, now: float) -> Version | None:
        """The broadcaster holds it; None if nobody waits for that number."""
        self.published_at = now
        version = self.versions.get(number)
        if version is None or self.publishing is not version:
            return None
        self.publishing, self.num_failures, self.is_lost = None, 0, False
        if not version.digest:
            version.digest = digest
            self.out.record(VersionPublished(version=number, digest=digest))
        return version

    def want(self, version: Version) -> None:
        """Make it the version that engines should run."""
        self.wanted = version
        self.out.do(Want(version=version.number, digest=version.digest, step=version.step))

    def newest(self, *, lineage: int, step: int) -> Version | None:
        """The newest version, if it is of these weights."""
        current = self.current
        return current if current is not None and (current.lineage, current.step) == (lineage, step) else None

    def step_of(self, number: PolicyVersion) -> int | None:
        """The training step that made a published version."""
        version = self.versions.get(number)
        return version.step if version is not None and version.digest else None

    def is_same(self, number: PolicyVersion, other: Version) -> bool:
        """Whether two versions are the same weights."""
        return bool(other.digest) and self.digest_of(number) == other.digest

    def contents(self, numbers: Iterable[PolicyVersion]) -> tuple[str, ...]:
        """What versions are, by content: equal weights may have had several numbers."""
        return tuple(dict.fromkeys(self.digest_of(number) for number in numbers))

    def digest_of(self, number: PolicyVersion) -> str:
        """What identifies a version's weights; empty if it was never published."""
        version = self.versions.get(number)
        return version.digest if version is not None else ""
