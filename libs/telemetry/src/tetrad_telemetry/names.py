"""What a metric may be called: `tetrad_<scope>_<noun>[_<unit>][_total]`, base units, whole words.

Pure. Owns the rules of `promtool check metrics` and ours on top; knows no Prometheus object.
"""

import re
from enum import StrEnum
from typing import Final

NAMESPACE: Final = "tetrad"
WORDS: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Suffixes that the exposition format adds itself; a metric called so would collide with another's series.
RESERVED_SUFFIXES: Final = frozenset({"sum", "count", "bucket", "created", "info"})
BASE_UNITS: Final = {
    "ms": "seconds",
    "us": "seconds",
    "ns": "seconds",
    "s": "seconds",
    "sec": "seconds",
    "secs": "seconds",
    "second": "seconds",
    "millis": "seconds",
    "milliseconds": "seconds",
    "minutes": "seconds",
    "hours": "seconds",
    "kb": "bytes",
    "mb": "bytes",
    "gb": "bytes",
    "kib": "bytes",
    "mib": "bytes",
    "gib": "bytes",
    "byte": "bytes",
    "megabytes": "bytes",
    "pct": "ratio",
    "percent": "ratio",
    "percentage": "ratio",
}


class MetricKind(StrEnum):
    """The Prometheus types that we use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


def metric_name(scope: str, noun: str, *, kind: MetricKind) -> str:
    """Return the full name, or raise ValueError saying which rule the name breaks.

    >>> metric_name("rollout", "generated_tokens_total", kind=MetricKind.COUNTER)
    'tetrad_rollout_generated_tokens_total'
    """
    name = "_".join(part for part in (NAMESPACE, scope, noun) if part)
    if not WORDS.fullmatch(name):
        raise ValueError(f"metric {name!r} is not snake_case")
    _check_total(name, kind)
    _check_unit(name)
    return name


def _check_total(name: str, kind: MetricKind) -> None:
    is_total = name.endswith("_total")
    if kind is MetricKind.COUNTER and not is_total:
        raise ValueError(f"counter {name!r} must end in _total")
    if kind is not MetricKind.COUNTER and is_total:
        raise ValueError(f"{kind} {name!r} must not end in _total")


def _check_unit(name: str) -> None:
    last = name.removesuffix("_total").rsplit("_", 1)[-1]
    if last in RESERVED_SUFFIXES:
        raise ValueError(f"metric {name!r} ends in _{last}, which Prometheus reserves")
    if last in BASE_UNITS:
        raise ValueError(f"metric {name!r} ends in _{last}; use the base unit _{BASE_UNITS[last]}")
