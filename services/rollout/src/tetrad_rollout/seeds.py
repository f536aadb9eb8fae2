"""Seeds of turns and environments derive from the sample's seed, which derives from its slot."""

import hashlib
from typing import Final

_SEED_BITS: Final = 63


def turn_seed(seed: int, turn: int) -> int:
    """Sampling seed of a turn; turn 0 uses the sample's own.

    >>> turn_seed(7, 0), turn_seed(7, 1) != turn_seed(7, 2)
    (7, True)
    """
    return seed if turn == 0 else _hashed(seed, f"turn:{turn}")


def environment_seed(seed: int) -> int:
    """Seed of the sample's environment."""
    return _hashed(seed, "environment")


def _hashed(seed: int, purpose: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _SEED_BITS)
