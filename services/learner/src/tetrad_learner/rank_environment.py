"""What trainer ranks start from: our surroundings, and our settings however they were given."""

from collections.abc import Mapping
from typing import Final

from tetrad_config.process import PREFIX, ServiceSettings
from tetrad_config.variables import variable_of

LOOPBACK: Final = "lo"


def rank_environment(
    settings: ServiceSettings, environ: Mapping[str, str], *, coordinator: str, interface: str = LOOPBACK
) -> dict[str, str]:
    """Return the variables of ranks that register with `coordinator` and meet each other over `interface`."""
    surroundings = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    told: dict[str, object] = {
        "run_dir": settings.run_dir.absolute(),
        "run_config": settings.run_config_path.absolute(),
        "coordinator": coordinator,
        "log_format": settings.log_format,
        "log_level": settings.log_level,
        "allow_clear_tcp": settings.allow_clear_tcp,
    }
    if settings.keys is not None:
        told["keys"] = settings.keys.absolute()
    # Both would otherwise ask the resolver for the host's own name, or take the first interface that is up.
    meeting_place = {name: environ.get(name, interface) for name in ("GLOO_SOCKET_IFNAME", *_nccl(interface))}
    return surroundings | meeting_place | {variable_of(name): str(value) for name, value in told.items()}


def _nccl(interface: str) -> tuple[str, ...]:
    # On one host NCCL finds its own way, and loopback would keep it from better ones.
    return () if interface == LOOPBACK else ("NCCL_SOCKET_IFNAME",)
