"""What a sandboxed program may use, and the rlimits that say so."""

import math
import resource
from dataclasses import dataclass
from typing import Final

OPEN_FILES: Final = 64
# Of all that a program writes below /tmp.
TMP_BYTES: Final = 32 << 20
# A program that sleeps or waits uses no CPU time; a busy machine may stretch one that does.
WALL_FACTOR: Final = 2.0
WALL_SLACK_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one program run."""

    cpu_s: float = 4.0
    """CPU time, rounded up to whole seconds."""
    memory_bytes: int = 512 << 20
    """Address space."""
    output_bytes: int = 1 << 20
    """Standard output, and each file that the program writes."""

    @property
    def wall_s(self) -> float:
        """Time by the clock after which the program is killed whatever it used."""
        return self.cpu_s * WALL_FACTOR + WALL_SLACK_S

    def apply(self) -> None:
        """Set them on this process, for its children to inherit."""
        seconds = math.ceil(self.cpu_s)
        _lower(resource.RLIMIT_CPU, seconds)
        _lower(resource.RLIMIT_AS, self.memory_bytes)
        _lower(resource.RLIMIT_FSIZE, self.output_bytes)
        _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
        _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, value: int) -> None:
    """Set a limit, or keep the one that is lower already."""
    _soft, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
