"""How long to wait before trying again.

Pure: knows no clock and no random source; jitter is a number that the caller draws.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays with a ceiling.

    >>> [Backoff(first_s=0.5, limit_s=3.0).delay_s(n) for n in range(4)]
    [0.5, 1.0, 2.0, 3.0]
    """

    first_s: float = 0.5
    """Delay after the first failure."""
    limit_s: float = 30.0
    """Longest delay."""
    factor: float = 2.0
    """Growth per failure."""
    jitter: float = 0.0
    """Largest share by which a delay is shortened, 0 to 1, so that many clients do not return at once."""

    def __post_init__(self) -> None:
        """Refuse what would not be a back-off."""
        if not 0 < self.first_s <= self.limit_s:
            raise ValueError(f"back-off needs 0 < first_s <= limit_s; got {self.first_s} and {self.limit_s}")
        if self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(f"back-off needs factor >= 1 and jitter in [0, 1]; got {self.factor}, {self.jitter}")

    def delay_s(self, failures: int, *, draw: float = 0.0) -> float:
        """Return the delay after `failures` earlier failures; `draw` is uniform in [0, 1)."""
        # Capped before the power: 2 ** 2000 is not a float.
        exponent = min(failures, 64)
        return min(self.first_s * self.factor**exponent, self.limit_s) * (1 - self.jitter * draw)
