"""What a grade has cost at a judge: counted where it is asked, told among the metrics of the episode.

A worker has no page of its own, so its counts travel with the grade; the service adds them up.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

PREFIX: Final = "judge_"


@dataclass(slots=True)
class JudgeUse:
    """Since the episode was opened."""

    calls: int = 0
    """Replies that were complete; of verdicts that are remembered there are none."""
    seconds: float = 0.0
    """From asking to the verdict, attempts and the wait for a slot included."""
    input_tokens: int = 0
    """As the server counts them; 0 from one that does not say."""
    output_tokens: int = 0

    def told(self) -> dict[str, object]:
        """As metrics of an episode."""
        return {f"{PREFIX}{name}": value for name, value in asdict(self).items()}


def use_in(metrics: Mapping[str, float]) -> JudgeUse:
    """Add up what an episode tells, of each component where its grade is a weighted sum.

    >>> use_in({"judge_calls": 1.0, "judge_seconds": 0.5, "style_judge_calls": 2.0, "judge_mood": 1.0})
    JudgeUse(calls=3, seconds=0.5, input_tokens=0, output_tokens=0)
    """

    def total(name: str) -> float:
        known = f"{PREFIX}{name}"
        return sum(value for key, value in metrics.items() if key == known or key.endswith(f"_{known}"))

    return JudgeUse(
        calls=round(total("calls")),
        seconds=total("seconds"),
        input_tokens=round(total("input_tokens")),
        output_tokens=round(total("output_tokens")),
    )
