"""Whose fault the end of a run was, as an exit code. Pure but for the log."""

from tetrad_learner.coordinator.core import effects as ef
from tetrad_runtime.exits import ExitCode
from tetrad_telemetry.logs import get_logger
from tetrad_wire.messages.membership import RunState

log = get_logger(__name__)


def exit_code_of_run(ended: ef.ChangeRun | None) -> ExitCode:
    """Return the code of a run that ended so; None was stopped in order."""
    if ended is None or ended.state is RunState.ENDED:
        return ExitCode.OK
    reason = ended.reason
    log.critical("run_failed", reason=reason)
    # Before the others: what else a rank did or said may be in the same sentence.
    if "out of memory" in reason:
        return ExitCode.ENVIRONMENT
    if "poisoned" in reason or "dropped" in reason or "dynamic sampling" in reason:
        return ExitCode.DATA
    if "nothing to load" in reason or "could not be written" in reason:
        return ExitCode.ENVIRONMENT
    if "self-test" in reason:
        return ExitCode.ENVIRONMENT
    if "engine" in reason:
        return ExitCode.ENGINE
    return ExitCode.PEER_LOST if "published" in reason or "other hosts" in reason else ExitCode.INTERNAL
