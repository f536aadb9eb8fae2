"""How fast each rollout generates: tokens over the last looks. Pure; memory is bounded by the window."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from tetrad_cli.observed import Observed

# Samples finish in bursts: a shorter look back would jump between 0 and too much.
WINDOW_S: Final = 15.0


@dataclass(slots=True)
class Rates:
    """The counters of each rollout, as they were at the last looks."""

    _seen: dict[tuple[str, int | None], deque[tuple[float, float]]] = field(default_factory=dict)

    def with_rates(self, observed: Observed, now: float) -> Observed:
        """Return what was observed with the speed of each rollout; `now` is in monotonic seconds."""
        present = {}
        for row in observed.rows:
            # A restarted process counts from 0 again: another pid is another counter.
            key = (row.instance.name, row.instance.pid)
            if row.generated_tokens is not None:
                present[key] = self._seen.get(key, deque())
                present[key].append((now, row.generated_tokens))
        self._seen = present
        rates = {name: _rate(seen, now) for (name, _pid), seen in present.items()}
        return replace(observed, rollout_tokens_per_s=rates)


def _rate(seen: "deque[tuple[float, float]]", now: float) -> float:
    while len(seen) > 2 and now - seen[0][0] > WINDOW_S:
        seen.popleft()
    (began, first), (ended, last) = seen[0], seen[-1]
    return (last - first) / (ended - began) if ended > began else 0.0
