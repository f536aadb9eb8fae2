"""What grades a run at this moment: the launcher's replicas, the run's record, and what the coordinator says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_cli.launch.control import InstanceStatus, Request, ask
from tetrad_cli.launch.probe import Page, get
from tetrad_cli.reward_swap import ROLE, RUN_FILE, current_edition
from tetrad_config import RunConfig, load_resolved
from tetrad_config.reward_record import RewardRecord, read_record

REGISTERED: Final = re.compile(rb'^tetrad_learner_reward_replicas\{standing="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardStatus:
    """The reward of a run."""

    current: int | None
    """Edition that new groups open on; None where the coordinator does not answer."""
    wanted: int | None
    """Edition that is to take its place."""
    implementation: str
    """What grades: a file, a class, environments, or who else."""
    replicas: Mapping[str, str]
    """Those of the launcher: name → state."""
    registered: Mapping[str, int]
    """With the coordinator: standing → replicas. Empty where it does not answer."""


async def reward_status(run_dir: Path, *, deadline_s: float) -> RewardStatus:
    """Ask the launcher and the learner; raises ControlError when the launcher does not answer."""
    reply = await ask(run_dir, Request(op="status"), deadline_s=deadline_s)
    record = read_record(run_dir) or RewardRecord()
    page = await _learner_page(reply.instances)
    return RewardStatus(
        current=current_edition(page),
        wanted=record.wanted.number if record.wanted is not None else None,
        implementation=_implementation(load_resolved(run_dir / RUN_FILE), record),
        replicas={one.name: one.state for one in reply.instances if one.role == ROLE},
        registered=registered(page),
    )


def registered(page: Page | None) -> dict[str, int]:
    """Read from the learner's metrics how many reward replicas there are, by standing."""
    found = REGISTERED.findall(page.body) if page is not None and page.is_ok else []
    return {standing.decode(): int(float(count)) for standing, count in found}


async def _learner_page(instances: tuple[InstanceStatus, ...]) -> Page | None:
    ports = [one.port for one in instances if one.role == "learner" and one.pid is not None]
    return await get(ports[0], "/metrics") if ports else None


def _implementation(config: RunConfig, record: RewardRecord) -> str:
    if record.current.endpoints:
        return f"kept by others at {', '.join(record.current.endpoints)}"
    return (
        config.reward.implementation or f"environments of the rows, {config.environment.env_class} where they name none"
    )
