"""Decides what follows the end of a process: a restart after a delay, giving up, or the end of the run.

Pure: the exit and the time come in, a verdict goes out.
"""

from dataclasses import dataclass, field
from typing import Final

from tetrad_runtime.backoff import Backoff
from tetrad_runtime.exits import ExitCode, describe_exit

# A crash, as opposed to an exit code by which the learner says why the run is over. 1 is Python's own.
CRASH_CODES: Final = frozenset({1, ExitCode.PEER_LOST, ExitCode.INTERNAL})
# Trying again cannot help.
HOPELESS_CODES: Final = frozenset({ExitCode.CONFIG})


@dataclass(frozen=True, slots=True)
class Exit:
    """How one life of a process ended."""

    returncode: int
    """As in `subprocess`: negative is the signal."""
    uptime_s: float

    @property
    def shell_code(self) -> int:
        """The code as a shell reports it: 128 + signal."""
        return self.returncode if self.returncode >= 0 else 128 - self.returncode

    def __str__(self) -> str:
        """Say it in words."""
        return f"{describe_exit(self.returncode)} after {self.uptime_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after the delay."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it dead."""

    reason: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """The run is over."""

    code: int
    reason: str


Verdict = Restart | GiveUp | EndRun


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How patient the launcher is with a role."""

    backoff: Backoff = field(default_factory=Backoff)
    healthy_after_s: float = 10.0
    """A life this long starts the back-off anew."""
    max_crashes: int = 6
    """This many crashes within `window_s` seconds are a crash loop."""
    window_s: float = 300.0
    clean_exit_delay_s: float = 20.0
    """After exit code 0. A service mostly leaves so when the run is over; the learner ends once it has summed up."""


@dataclass(slots=True)
class CrashHistory:
    """The crashes of one instance, and what to do about the next."""

    policy: RestartPolicy
    ends_run: bool = False
    """Whether the end of this process is the end of the run."""
    failures: int = 0
    """Crashes since the last healthy spell."""
    _crashes: list[float] = field(default_factory=list)

    def after(self, end: Exit, *, now: float) -> Verdict:
        """Return what follows from an exit that nobody asked for; `now` is in monotonic seconds."""
        if self.ends_run and end.returncode >= 0 and end.returncode not in CRASH_CODES:
            return EndRun(end.returncode, str(end))
        if end.returncode in HOPELESS_CODES:
            return GiveUp(f"{end}: a restart cannot help")
        if end.returncode == 0:
            return Restart(self.policy.clean_exit_delay_s)
        return self._after_crash(end, now=now)

    def _after_crash(self, end: Exit, *, now: float) -> Verdict:
        self._crashes = [at for at in self._crashes if now - at < self.policy.window_s] + [now]
        self.failures = 0 if end.uptime_s >= self.policy.healthy_after_s else self.failures
        if len(self._crashes) < self.policy.max_crashes:
            self.failures += 1
            return Restart(self.policy.backoff.delay_s(self.failures - 1))
        reason = f"{len(self._crashes)} crashes within {self.policy.window_s:g} s, last: {end}"
        return EndRun(end.shell_code, reason) if self.ends_run else GiveUp(reason)
