"""Policy versions: numbers that never repeat, and what they stand for."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tetrad_learner.coordinator.core.effects import Publish, Want
from tetrad_learner.coordinator.core.facts import VersionMinted, VersionPublished
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_wire.ids import PolicyVersion


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
    num_failures: int = 0
    """Publishes in a row that failed."""
    retry_at: float = 0.0

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

    def came_out(self, number: PolicyVersion, digest: str) -> Version | None:
        """The broadcaster holds it; None if nobody waits for that number."""
        version = self.versions.get(number)
        if version is None or self.publishing is not version:
            return None
        self.publishing, self.num_failures = None, 0
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
