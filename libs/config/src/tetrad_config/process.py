"""Process: the settings of each service process, one small class per service.

They say where a process stands among the others (folder, endpoints, name, ports), never how a run learns: that is
`RunConfig`. Each field is read from `TETRAD_<FIELD>` or `--<field>`; see `settings`. Nothing here looks at the
environment of the process by itself.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tetrad_config.endpoint import Endpoint
from tetrad_config.section import FilePath

PREFIX: Final = "TETRAD_"


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """Least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class WeightTransportChoice(StrEnum):
    """How a rollout replica gets its weights from the broadcaster."""

    AUTO = "auto"
    """The fastest that is proved to work."""
    CUDA_IPC = "cuda_ipc"
    SHARED_MEMORY = "shared_memory"
    NCCL = "nccl"
    SOCKET = "socket"


class ServiceSettings(BaseSettings):
    """What every service process is told."""

    # Not strict: variables and flags are text.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    run_dir: FilePath
    """The run's folder, such as outputs/demo."""
    run_config: FilePath | None = None
    """The resolved run file; config.yaml in the run's folder unless set."""
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
    """Name of this process among its like, such as rollout-0."""
    metrics_host: str = "127.0.0.1"
    """Address on which /metrics, /healthz and /readyz are served."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of /metrics, /healthz and /readyz; 0 takes any that is free."""
    log_format: LogFormat = LogFormat.JSON
    """How log lines are written: json or console."""
    log_level: LogLevel = LogLevel.INFO
    """Least level that is logged: debug, info, warning or error."""
    allow_clear_tcp: bool = False
    """Whether tcp endpoints of this host are used without keys; beyond loopback nothing replaces them."""
    keys: FilePath | None = None
    """Folder of keys, as `tetrad keys init` makes it: every tcp endpoint is used with them; none without it."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read only what is handed in: `load_settings` hands in the flags and variables that it was given."""
        return (init_settings,)

    @property
    def run_config_path(self) -> Path:
        """Where the resolved run file is."""
        return self.run_config or self.run_dir / "config.yaml"


class RolloutSettings(ServiceSettings):
    """Settings of one rollout replica."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)] = "rollout-0"
    """Name of this replica, such as rollout-0."""
    coordinator: Endpoint
    """Endpoint of the coordinator."""
    weight_transport: WeightTransportChoice = WeightTransportChoice.AUTO
    """How weights come: cuda_ipc, shared_memory, nccl or socket; auto takes the fastest that is proved to work."""
    broadcaster: Endpoint | None = None
    """Endpoint of the broadcaster, to which the link is tested before a model loads; the coordinator knows it too."""
    relay: Endpoint | None = None
    """Endpoint of this host's relay, which weights are taken from; the run's broadcaster unless set."""


class RewardSettings(ServiceSettings):
    """Settings of one reward replica."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)] = "reward-0"
    """Name of this replica, such as reward-0."""
    coordinator: Endpoint
    """Endpoint of the coordinator."""
    bind: Endpoint
    """Endpoint on which rollouts reach this replica."""
    edition: Annotated[int, Field(ge=0)] = 1
    """Which of the run's reward implementations it is: 1 is the first; 0 stands by until `tetrad reward swap`."""


class BroadcasterSettings(ServiceSettings):
    """Settings of the broadcaster."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)] = "broadcaster"
    """Name of this process."""
    coordinator: Endpoint
    """Endpoint of the coordinator."""
    bind: Endpoint
    """Endpoint on which learner and rollouts reach the broadcaster."""
    group_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$", max_length=253)] = "127.0.0.1"
    """Address of this host at which receivers of engines reach senders of weights (NCCL); loopback: this host only."""
    is_relay: bool = False
    """Whether versions come from the run's broadcaster, once for all engines of this host, and not from the learner."""


class CoordinatorSettings(ServiceSettings):
    """Settings of the learner's coordinator."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)] = "learner"
    """Name of this process."""
    bind: Endpoint
    """Endpoint on which everyone reaches the coordinator."""
    skip_step: Annotated[int, Field(ge=1)] | None = None
    """Poisoned training step that the run goes on without; its samples are dropped."""


class HostSettings(ServiceSettings):
    """Settings of the process that starts the trainer ranks of another host than the coordinator's."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)] = "host-1"
    """Name of this host; hosts of the learner are taken in the order of their names."""
    coordinator: Endpoint
    """Endpoint of the coordinator."""


class TrainerSettings(ServiceSettings):
    """Settings of one trainer rank; rank and world size come from torchrun."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)] = "trainer"
    """Name of this process."""
    coordinator: Endpoint
    """Endpoint of the coordinator."""


SERVICES: tuple[type[ServiceSettings], ...] = (
    RolloutSettings,
    RewardSettings,
    BroadcasterSettings,
    CoordinatorSettings,
    HostSettings,
    TrainerSettings,
)
"""Every settings class; together they are the flat `TETRAD_*` variables."""
