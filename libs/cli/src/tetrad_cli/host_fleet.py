"""The processes of a run on a host beside the first: its trainer ranks, and engines and rewards where asked for.

Pure. Names begin with that of the host, since the coordinator knows replicas of all hosts by their names.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tetrad_cli.fleet import MAX_REPLICAS, MODEL_LOAD_DEADLINE_S, module
from tetrad_cli.launch.roles import OnExit, Role
from tetrad_config import RunConfig, gpus_of_engines, thread_environment, threads_per_process
from tetrad_config.generator import Backend
from tetrad_runtime.exits import ConfigFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """Which run a host joins, and with what."""

    name: str
    """Of this host."""
    coordinator: str
    """Endpoint of the run's coordinator."""
    address: str
    """Of this host, for others to reach its rewards."""
    rollouts: int = 0
    rewards: int = 0


def host_fleet(
    config: RunConfig,
    joining: Joining,
    *,
    run_dir: Path,
    runtime_dir: Path,
    num_cores: int | None = None,
    gpus: Sequence[str] = (),
) -> list[Role]:
    """Return the roles of a host that joins; raises ConfigFault where it has not the GPUs for its engines."""
    cores = num_cores if num_cores is not None else len(os.sched_getaffinity(0))
    computing = thread_environment(threads_per_process(config, cores))
    light = thread_environment(1)
    relay = f"ipc://{runtime_dir}/relay"
    shared = {
        "TETRAD_RUN_DIR": str(run_dir),
        "TETRAD_RUN_CONFIG": str(run_dir / "config.yaml"),
        "TETRAD_COORDINATOR": joining.coordinator,
        "TETRAD_NAME": f"{joining.name}-{{name}}",
        "TETRAD_METRICS_PORT": "{port}",
    }
    roles = [
        Role(
            name="host",
            argv=module("tetrad_learner.host"),
            # What torchrun starts has the threads of a rank.
            env={**computing, **shared, "TETRAD_NAME": joining.name},
            on_exit=OnExit.ENDS_RUN,
            settled_path="/readyz",
        )
    ]
    if joining.rewards:
        bind = f"tcp://{joining.address}:*"
        roles.append(
            Role(
                name="reward",
                argv=module("tetrad_reward"),
                stage=1,
                replicas=joining.rewards,
                max_replicas=MAX_REPLICAS,
                env={**light, **shared, "TETRAD_BIND": bind},
            )
        )
    if joining.rollouts:
        roles.append(
            Role(
                name="relay",
                argv=module("tetrad_broadcaster"),
                stage=1,
                env={**light, **shared, "TETRAD_BIND": relay, "TETRAD_IS_RELAY": "true"},
            )
        )
        # The relay is on this host: its memory is the fastest way, and the only one that the link is spared by.
        given = {"TETRAD_RELAY": relay, "TETRAD_WEIGHT_TRANSPORT": "shared_memory"}
        roles.append(_rollouts(config, joining, env={**computing, **shared, **given}, gpus=gpus))
    return roles


def _rollouts(config: RunConfig, joining: Joining, *, env: dict[str, str], gpus: Sequence[str]) -> Role:
    slots = _slots(config, gpus)
    if config.generator.backend is Backend.SGLANG and gpus and len(slots) < joining.rollouts:
        raise ConfigFault(
            f"--rollouts {joining.rollouts}: {len(gpus)} GPUs are visible here, which leaves room for {len(slots)} "
            f"engines of {config.generator.gpus_per_engine} GPUs beside the ranks; ask for {len(slots)}"
        )
    return Role(
        name="rollout",
        argv=module("tetrad_rollout"),
        stage=2,
        replicas=joining.rollouts,
        max_replicas=len(slots) or MAX_REPLICAS,
        env=env,
        gpus=slots,
        start_deadline_s=MODEL_LOAD_DEADLINE_S,
    )


def _slots(config: RunConfig, gpus: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The GPUs of every engine that there may be: behind those of the ranks, where this host has any."""
    placement = config.trainer.placement
    if placement.policy_num_nodes > 1 or not gpus:
        return gpus_of_engines(config, gpus)
    return gpus_of_engines(config, [*[""] * placement.policy_num_gpus_per_node, *gpus])
