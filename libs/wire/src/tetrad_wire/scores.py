"""Extra scores of a sample: what other rules would have paid, beside the reward. Few, named, finite."""

import math
import re
from collections.abc import Mapping
from typing import Final

# Each becomes a metric of every dataset; more would drown the dashboards.
MAX_SCORES: Final = 8
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


def require_scores(scores: Mapping[str, float]) -> None:
    """Raise ValueError unless there are at most MAX_SCORES finite numbers under names that suit a metric.

    >>> require_scores({"strict": 0.0, "flexible": 1.0})
    """
    if len(scores) > MAX_SCORES:
        raise ValueError(f"{len(scores)} scores; the limit is {MAX_SCORES}")
    for name, score in scores.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"score {name[:64]!r}: a name has 1 to 32 of a-z, 0-9 and _, and begins with a letter")
        if not math.isfinite(score):
            raise ValueError(f"score {name} is {score}; it must be finite")
