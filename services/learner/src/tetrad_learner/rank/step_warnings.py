"""What a step's figures say that somebody should hear about at once. Pure but for the log."""

from collections.abc import Mapping

from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)


def warn_about(metrics: Mapping[str, float], *, step: int) -> None:
    """Log a warning for optimizer steps that were not taken and groups that nothing was compared with."""
    if skipped := int(metrics.get("skipped_mini_batches", 0)):
        taken = int(metrics.get("optimizer_steps", 0))
        reason = "filters and masks left these mini-batches no token to train on"
        log.warning("mini_batches_skipped", step=step, skipped=skipped, optimizer_steps=taken, reason=reason)
    if alone := int(metrics.get("singleton_groups", 0)):
        log.warning("nothing_to_compare_with", step=step, singleton_groups=alone)
