"""What the launcher is told to keep alive: roles and their replicas.

Pure data. `fleet.py` writes the roles of a training run; tests write their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tetrad_cli.launch.restarts import RestartPolicy

# Longer than the drain deadline of a service plus its last graces, so that the service's own clock decides.
GRACE_S: Final = 45.0


VISIBLE_GPUS: Final = "CUDA_VISIBLE_DEVICES"


class OnExit(StrEnum):
    """What it means when a process of the role ends without having been asked to."""

    RESTART = "restart"
    """It is started anew, whatever its exit code."""
    ENDS_RUN = "ends_run"
    """The run is over and its exit code is the run's; only a crash is repaired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One kind of process and how it is kept."""

    name: str
    argv: tuple[str, ...]
    """The command, the program first."""
    stage: int = 0
    """Roles start by ascending stage and stop by descending stage; within one stage together."""
    start_stage: int | None = None
    """Where a role that stops before others need not wait for them to start; None: with its stage."""
    replicas: int = 1
    max_replicas: int = 1
    """Limit of `scale`; 1 means that there is always exactly one."""
    label: str = ""
    """What the names of its replicas begin with where that is not the role's name."""
    outside: str = ""
    """Where its processes are if others keep them; empty where the launcher does."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the launcher's own; `{index}`, `{name}` and `{port}` in values are replaced."""
    why_no_more: str = ""
    """What `max_replicas` follows from, for whoever asks for more."""
    is_numbered: bool = False
    """Whether a replica has a number even where there may be only one."""
    gpus: tuple[tuple[str, ...], ...] = ()
    """For each replica the GPUs that it sees; empty where it sees all that the launcher sees."""
    on_exit: OnExit = OnExit.RESTART
    health_path: str = "/healthz"
    """Answers 200 once the process serves; the next stage waits for it."""
    settled_path: str | None = None
    """Answers 200 once the process does its work; `up` waits for it after all are healthy. None: not waited for."""
    start_deadline_s: float = 120.0
    settle_deadline_s: float = 600.0
    ready_path: str = "/readyz"
    """Where it says whether it does its work, for `tetrad status`."""
    port: int = 0
    """The one that it always serves on; 0: a free one at each start."""
    is_optional: bool = False
    """The run goes on without it, whatever becomes of it, and it may be scaled to none."""
    is_scraped: bool = True
    """Whether it is a target for Prometheus."""
    grace_s: float = GRACE_S
    """From SIGTERM to SIGKILL."""
    restarts: RestartPolicy = field(default_factory=RestartPolicy)

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        if self.outside and self.replicas:
            raise ValueError(f"role {self.name}: {self.replicas} replicas of processes that others keep")
        if not self.outside and not self.min_replicas <= self.replicas <= self.max_replicas:
            raise ValueError(
                f"role {self.name}: {self.replicas} replicas; between {self.min_replicas} and {self.max_replicas} are "
                "possible"
            )
        if self.gpus and len(self.gpus) < self.max_replicas:
            raise ValueError(f"role {self.name}: GPUs for {len(self.gpus)} of {self.max_replicas} replicas")

    @property
    def starts_with(self) -> int:
        """The stage that it starts with."""
        return self.stage if self.start_stage is None else self.start_stage

    @property
    def min_replicas(self) -> int:
        """Limit of `scale`."""
        return 0 if self.is_optional else 1

    def instance_name(self, index: int) -> str:
        """Return the name of a replica, e.g. `rollout-0`; a role that is never scaled has no numbers."""
        is_numbered = self.is_numbered or self.max_replicas > 1
        return f"{self.label or self.name}-{index}" if is_numbered else self.name

    def environment(self, index: int, *, port: int) -> dict[str, str]:
        """Return the role's variables for one replica."""
        values = {"{index}": str(index), "{name}": self.instance_name(index), "{port}": str(port)}
        seen = {VISIBLE_GPUS: ",".join(self.gpus[index])} if self.gpus else {}
        return seen | {key: _fill(text, values) for key, text in self.env.items()}


def _fill(text: str, values: Mapping[str, str]) -> str:
    # Not str.format: a value may hold braces of its own, such as JSON.
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
