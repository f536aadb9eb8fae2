"""The console: `Step 5: train/policy_loss=0.0234, …` as an event of the log."""

from collections.abc import Mapping, Sequence

from tetrad_learner.coordinator.sample_table import TableRow
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)


class Console:
    """Writes the tutorial's line."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the line."""
        log.info("step_logged", line=format_line(step, metrics))

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """A table is no line."""

    def close(self) -> None:
        """Nothing to close."""


def format_line(step: int, metrics: Mapping[str, float]) -> str:
    """The tutorial's line.

    >>> format_line(5, {"eval/all/pass_at_1": 0.26841, "policy/policy_lr": 1e-6})
    'Step 5: eval/all/pass_at_1=0.2684, policy/policy_lr=1e-06'
    """
    return f"Step {step}: " + ", ".join(f"{name}={_shown(value)}" for name, value in metrics.items())


def _shown(value: float) -> str:
    """Four decimals, unless they would make nothing of a learning rate."""
    return f"{value:.3g}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"
