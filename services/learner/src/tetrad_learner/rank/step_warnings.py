"""What a step's figures say that somebody should hear about at once. Pure but for the log."""

from collections.abc import Mapping, Sequence

from tetrad_learner.rank.memory_advice import size_that_fits
from tetrad_learner.trainer.shortage import Lowered
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


def warn_of_shortage(lowered: Sequence[Lowered], *, step: int) -> None:
    """Log what did not fit into memory, what does, and how the next run begins with that."""
    for one in lowered:
        log.warning(
            "micro_batches_cut_smaller",
            step=step,
            passes=one.of.value,
            unit="tokens" if one.counts_tokens else "samples",
            before=one.before,
            after=one.after,
            reason=one.reason,
            fix=size_that_fits(one),
        )
