"""The other hosts of the learner: who is there, and which of them a set of ranks runs on.

Node 0 is always the coordinator's own host, beside the broadcaster. Owns nothing; the registry knows who is there.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tetrad_config import RunConfig
from tetrad_learner.coordinator.rank_set import Placing
from tetrad_learner.coordinator.registry import Registry
from tetrad_runtime.exits import ConfigFault
from tetrad_telemetry.logs import get_logger
from tetrad_transport.endpoints import host_of
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Role

log = get_logger(__name__)

POLL_S: Final = 0.1
ANY_ADDRESS: Final = frozenset({"0.0.0.0", "*", "::", "[::]"})  # noqa: S104 - to refuse them


class HostsMissingError(Exception):
    """Not enough hosts registered in time."""


def host_address(bind: str) -> str:
    """Return the address by which other hosts reach the coordinator; raise ConfigFault where they cannot."""
    fix = "start the run with --listen tcp://ADDRESS:PORT, an address of this host that the others reach"
    if not bind.startswith("tcp://"):
        raise ConfigFault(f"trainer.placement.policy_num_nodes > 1, and {bind} is on this host only; {fix}")
    address = host_of(bind)
    if address in ANY_ADDRESS:
        raise ConfigFault(f"{bind} names no address that others could be told; {fix}")
    return address


async def placed(config: RunConfig, registry: Registry, bind: str, *, is_over: Callable[[], bool]) -> Placing | None:
    """Return where the ranks shall run, once all hosts are there; None where the run is over before.

    Raises HostsMissingError where they do not come in time.
    """
    placement = config.trainer.placement
    if placement.policy_num_nodes == 1:
        return Placing(ranks_per_host=placement.policy_num_gpus_per_node)
    hosts = await gathered(
        registry,
        num_wanted=placement.policy_num_nodes - 1,
        timeout_s=config.trainer.stall_timeout,
        is_over=is_over,
    )
    if hosts is None:
        return None
    return Placing(ranks_per_host=placement.policy_num_gpus_per_node, hosts=hosts, address=host_address(bind))


def present(registry: Registry, *, num_wanted: int) -> tuple[Incarnation, ...]:
    """Return so many hosts, in the order of their names; fewer where there are not as many. The rest are spare."""
    willing = [record for record in registry.of_role(Role.HOST) if not record.is_draining]
    by_name = sorted(willing, key=lambda record: record.hello.name)
    return tuple(record.hello.incarnation for record in by_name[:num_wanted])


async def gathered(
    registry: Registry, *, num_wanted: int, timeout_s: float, is_over: Callable[[], bool]
) -> tuple[Incarnation, ...] | None:
    """Wait until so many hosts are there, and return them; None once the run is over.

    Raises HostsMissingError, naming who is there, after `timeout_s`.
    """
    loop = asyncio.get_running_loop()
    deadline, num_seen = loop.time() + timeout_s, -1
    while not is_over() and not registry.state.is_over:
        found = present(registry, num_wanted=num_wanted)
        if len(found) == num_wanted:
            return found
        if len(found) != num_seen:
            num_seen = len(found)
            log.info("waiting_for_hosts", there=_names(registry, found), wanted=num_wanted, limit_s=timeout_s)
        if loop.time() > deadline:
            raise HostsMissingError(
                f"{len(found)} of {num_wanted} other hosts are there after {timeout_s:g} s (trainer.stall_timeout): "
                f"{', '.join(_names(registry, found)) or 'none'}; start `tetrad agent --join` on the others"
            )
        await asyncio.sleep(POLL_S)
    return None


def _names(registry: Registry, hosts: tuple[Incarnation, ...]) -> list[str]:
    return [f"{registry.members[host].hello.name} ({registry.members[host].hello.host})" for host in hosts]
