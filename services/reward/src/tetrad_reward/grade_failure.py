"""What a grader raises where it has no reward to give, and knows why and whose fault that is."""

from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import FailureKind


class GradeFailureError(Exception):
    """No reward: `outcome` and `kind` become those of the grade. Anything else that is raised is `crashed`, `data`."""

    def __init__(self, reason: str, *, outcome: GradeOutcome, kind: FailureKind) -> None:
        super().__init__(reason)
        self.outcome, self.kind = outcome, kind
