"""Which public keys are admitted, and as what. Pure: reads no file and no clock."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tetrad_transport.keys.role import KeyRole, PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key stands for."""

    key_name: str
    """As its file is called."""
    role: KeyRole
    replicas: str = "*"
    """Pattern of the process names that it is for."""
    until: float | None = None
    """Seconds since 1970 after which it stands for nothing; None has no end."""

    def is_for(self, name: str) -> bool:
        """Whether a process of this name may use the key.

        >>> Grant(key_name="gpu7", role=KeyRole.ROLLOUT, replicas="rollout-7*").is_for("rollout-8")
        False
        """
        return fnmatchcase(name, self.replicas)


@dataclass(frozen=True, slots=True)
class AllowedKeys:
    """The registry of a listener, as it was read last."""

    grants: dict[PublicKey, Grant] = field(default_factory=dict)
    revoked: frozenset[PublicKey] = frozenset()
    """Stronger than a grant: a copy of a file that somebody forgot admits nobody."""

    def find(self, key: PublicKey, *, now: float) -> Grant | None:
        """What a key stands for at this moment; None where it is not admitted (any more)."""
        grant = self.grants.get(key)
        if grant is None or key in self.revoked or (grant.until is not None and grant.until < now):
            return None
        return grant

    def was_admitted(self, key: PublicKey) -> bool:
        """Whether the key is known, though it may be revoked or over by now."""
        return key in self.revoked or key in self.grants


def allow(grants: Iterable[tuple[PublicKey, Grant]], *, revoked: Iterable[PublicKey] = ()) -> AllowedKeys:
    """Make a registry."""
    return AllowedKeys(dict(grants), frozenset(revoked))
