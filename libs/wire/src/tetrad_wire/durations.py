"""Durations as message fields, in seconds: the only times that cross the wire."""

import math


def require_positive(seconds: float, name: str) -> None:
    """Raise ValueError unless `seconds` is finite and above 0."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} is {seconds}; it must be finite and above 0")


def require_not_negative(seconds: float, name: str) -> None:
    """Raise ValueError unless `seconds` is finite and at least 0."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{name} is {seconds}; it must be finite and not negative")
