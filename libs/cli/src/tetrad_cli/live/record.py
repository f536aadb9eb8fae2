"""One line of metrics.jsonl, and the tutorial's line format.

Pure. The learner writes the file; only what is read here is known here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Over all datasets, at the sampling parameters of evaluation and of training. What else there is, by dataset for
# instance, is in the file and in TensorBoard.
EVALUATIONS: Final = ("eval/all/", "eval_sampled/all/")
SHOWN: Final = ("train/", *EVALUATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The metrics of one training step."""

    step: int
    time_s: float
    """When it was written, Unix time."""
    metrics: Mapping[str, float]

    @property
    def has_evaluation(self) -> bool:
        """Whether the policy was evaluated at this step."""
        return any(name.startswith(EVALUATIONS) for name in self.metrics)

    def line(self) -> str:
        """Return the record as the tutorial prints it.

        >>> Record(step=5, time_s=1.0, metrics={"train/policy_loss": 0.02341, "timing/train": 2.0}).line()
        'Step 5: train/policy_loss=0.02341'
        """
        shown = [(name, value) for name, value in self.metrics.items() if name.startswith(SHOWN)]
        return f"Step {self.step}: " + ", ".join(f"{name}={value:.4g}" for name, value in shown)


def parse(line: str) -> Record | None:
    """Read a line; None where it is no record, such as a line that is not finished."""
    try:
        fields = json.loads(line)
        metrics = {str(name): float(value) for name, value in fields["metrics"].items() if _is_number(value)}
        return Record(step=int(fields["step"]), time_s=float(fields.get("time", 0.0)), metrics=metrics)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
