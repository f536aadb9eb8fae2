"""How many files and sockets a process may have open."""

import resource
from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict

MIN_OPEN_FILES: Final = 1024
# A coordinator holds a connection for each of its rollouts, rewards and ranks.
COMFORTABLE: Final = 4096


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether the limit is far enough away."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"limit {soft}, at most {hard}"
    if soft >= COMFORTABLE:
        yield Finding(Verdict.GOOD, "open files", detail)
    else:
        verdict = Verdict.NOTE if soft >= MIN_OPEN_FILES else Verdict.BAD
        yield Finding(verdict, "open files", detail, f"ulimit -n {min(hard, 65536) if hard > 0 else 65536}")
