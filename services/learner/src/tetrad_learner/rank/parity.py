"""What must be equal on every rank before they compute together, and what is said where it is not. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec


class RankFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a rank tells the others of itself."""

    rank: int
    host: str
    """Name of the machine."""
    address: str
    """At which it can be reached by the others."""
    interface: str
    """Which has this address."""
    port: int
    """Of its listener for the self-test."""
    nonce: str
    """What that listener answers: a port says nothing of who listens there."""
    python: str
    torch: str
    cuda: str
    """That torch was built for; empty without."""
    nccl: str
    """Empty without GPUs."""
    device: str
    """Kind of device that it computes on."""
    tetrad: str
    config: str
    """Digest of the resolved run file."""

    def __str__(self) -> str:
        """Name the rank and where it is."""
        return f"rank {self.rank} ({self.host}, {self.address} on {self.interface})"


FIXES: Final[Mapping[str, str]] = {
    "python": "run the same version of Python on every host",
    "torch": "install the same build of torch on every host",
    "cuda": "install the same build of torch on every host",
    "nccl": "install the same build of torch on every host, and preload no NCCL of the system's",
    "device": "give every rank a GPU, or none",
    "tetrad": "install the same version of Tetrad on every host",
    "config": "the hosts have read different run files; start their agents again",
}
"""Field → what to do where it differs."""


def differences(everyone: Sequence[RankFacts]) -> list[str]:
    """Return a sentence for each field in which a rank is not like rank 0.

    Ranks of one host share what they have: the first of a host speaks for the others.
    """
    first = everyone[0]
    by_host = {facts.address: facts for facts in reversed(everyone)}
    return [
        f"{name} is {getattr(facts, name) or 'none'} on {facts} and {getattr(first, name) or 'none'} on {first}; {fix}"
        for facts in sorted(by_host.values(), key=lambda facts: facts.rank)
        for name, fix in FIXES.items()
        if getattr(facts, name) != getattr(first, name)
    ]
