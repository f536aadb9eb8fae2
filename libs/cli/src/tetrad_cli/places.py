"""Where the processes of a run meet: sockets in the runtime directory, or TCP ports of this host under keys.

Pure. `TETRAD_BIND=tcp://ADDRESS:PORT` in the launcher's surroundings is where the coordinator is bound; the others take
any port of the same address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_runtime.exits import ConfigFault

BIND: Final = "TETRAD_BIND"
KEYS: Final = "TETRAD_KEYS"
ANY_PORT: Final = ":*"
CLEAR_TCP: Final = "TETRAD_ALLOW_CLEAR_TCP"
REWARD_SOCKET: Final = "/reward-{index}"
# Every address of this host; nobody can be told to connect to it.
WILDCARDS: Final = ("0.0.0.0", "*", "[::]")  # noqa: S104 - refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Endpoints of the roles that bind."""

    coordinator: str
    broadcaster: str
    reward: str
    """`{index}` stands for the number of the replica."""

    @property
    def known_broadcaster(self) -> str | None:
        """Where the broadcaster will be; None while it may take any port."""
        return None if self.broadcaster.endswith(ANY_PORT) else self.broadcaster

    def reward_of(self, label: str) -> str:
        """Endpoint of reward replicas whose names begin so; a port is any in any case."""
        if not self.reward.endswith(REWARD_SOCKET):
            return self.reward
        return f"{self.reward.removesuffix(REWARD_SOCKET)}/{label}-{{index}}"


def private_places(runtime_dir: Path) -> Places:
    """Sockets of this host, for its user alone."""
    return Places(
        coordinator=f"ipc://{runtime_dir}/coordinator",
        broadcaster=f"ipc://{runtime_dir}/broadcaster",
        reward=f"ipc://{runtime_dir}{REWARD_SOCKET}",
    )


def places(runtime_dir: Path, *, bind: str | None) -> Places:
    """Return the places of a run; `bind` is what `asked_bind` returned."""
    if bind is None:
        return private_places(runtime_dir)
    address = bind.rpartition(":")[0]
    return Places(coordinator=bind, broadcaster=f"{address}{ANY_PORT}", reward=f"{address}{ANY_PORT}")


def asked_bind(environ: Mapping[str, str]) -> str | None:
    """Where the coordinator shall be bound; None for a socket of this host. Raises ConfigFault where it may not be."""
    bind = environ.get(BIND)
    if bind is None:
        return None
    from tetrad_transport.endpoints import check_endpoint

    if not bind.startswith("tcp://"):
        raise ConfigFault(f"{BIND}={bind}: use tcp://ADDRESS:PORT, or leave it out for sockets of this host")
    if bind.removeprefix("tcp://").rpartition(":")[0] in WILDCARDS:
        raise ConfigFault(f"{BIND}={bind}: name one address of this host, since the others are told to connect to it")
    try:
        return check_endpoint(bind, has_keys=KEYS in environ, allow_clear_tcp=clear_tcp(environ))
    except ValueError as error:
        raise ConfigFault(f"{BIND}: {error}") from error


def clear_tcp(environ: Mapping[str, str]) -> bool:
    """Whether TCP on loopback is used without keys, as the services will be told."""
    return environ.get(CLEAR_TCP, "").lower() in {"1", "true", "yes", "on"}
