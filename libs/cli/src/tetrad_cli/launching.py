"""Starts the processes of a prepared run and returns when it is over; what `train`, `up` and `eval` have in common."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tetrad_cli.announce import redirect_output
from tetrad_cli.fleet import child_environment, fleet
from tetrad_cli.fresh_start import begin
from tetrad_cli.host_fleet import Joining, host_fleet
from tetrad_cli.launch.desk import Operation
from tetrad_cli.launch.roles import Role
from tetrad_cli.launch.session import Plan, launch
from tetrad_cli.monitoring.programs import find_programs
from tetrad_cli.monitoring.roles import Monitoring, url, write_config
from tetrad_cli.places import KEYS, Places, asked_bind, clear_tcp, places
from tetrad_cli.prepared import Prepared
from tetrad_cli.reward_resumed import with_current_reward
from tetrad_cli.reward_swap import OPERATION, RewardSwap
from tetrad_config import visible_gpus
from tetrad_config.resolved import load_resolved
from tetrad_telemetry import logs
from tetrad_wire.messages.joining import RunDescribed

LAUNCHER_LOG: Final = "launcher.log"


def launch_run(
    prepared: Prepared,
    *,
    announce: Callable[[str], None],
    on_up: Callable[[], None] = lambda: None,
    on_logged: Callable[[], None] = lambda: None,
    beside: Callable[[asyncio.Event], Awaitable[None]] | None = None,
    is_background: bool = False,
    is_monitored: bool = False,
) -> int:
    """Run to the end and return the exit code; `beside` runs while the run does.

    With `is_monitored`, Prometheus and Grafana start with it where they are installed.
    """
    prepared, edition, about_reward = with_current_reward(prepared)
    monitoring = Monitoring(run_dir=prepared.run_dir, programs=find_programs(), is_on=is_monitored)

    def on_claimed() -> None:
        if (notice := begin(prepared.config, prepared.run_dir)) is not None:
            announce(f"note: {notice}")
        if about_reward is not None:
            announce(f"note: {about_reward}")
        prepared.write_config()
        write_config(prepared.run_dir)
        log_path = prepared.run_dir / "logs" / LAUNCHER_LOG
        log_path.parent.mkdir(exist_ok=True)
        _log_to(log_path, is_background=is_background)
        on_logged()
        for notice in monitoring.notices():
            announce(f"note: {notice}")

    bind = prepared.listen or asked_bind(os.environ)
    plan = Plan(
        run=prepared.config.trainer.run_name,
        run_dir=prepared.run_dir,
        roles=lambda runtime: [
            *fleet(
                prepared.config,
                run_dir=prepared.run_dir,
                runtime_dir=runtime,
                gpus=visible_gpus(os.environ),
                skip_step=prepared.skip_step,
                bind=bind,
                edition=edition,
            ),
            *_introduced(monitoring, announce),
        ],
        env=child_environment(os.environ),
        announce=announce,
        on_claimed=on_claimed,
        on_up=on_up,
        operations=lambda runtime: _swaps(prepared.run_dir, places(runtime, bind=bind)),
        beside=beside,
    )
    return launch(plan)


def _swaps(run_dir: Path, where: Places) -> Mapping[str, Operation]:
    swap = RewardSwap(
        run_dir=run_dir,
        where=where,
        is_clear_tcp_allowed=clear_tcp(os.environ),
        has_keys=KEYS in os.environ,
    )
    return {OPERATION: swap.perform}


def launch_host(run: RunDescribed, joining: Joining, *, run_dir: Path, announce: Callable[[str], None]) -> int:
    """Run this host's part of a run of another host to its end, and return the exit code."""
    config_path = run_dir / "config.yaml"

    def roles(runtime: Path) -> list[Role]:
        config = load_resolved(config_path)
        return host_fleet(config, joining, run_dir=run_dir, runtime_dir=runtime, gpus=visible_gpus(os.environ))

    def on_claimed() -> None:
        config_path.write_text(run.config)
        log_path = run_dir / "logs" / LAUNCHER_LOG
        log_path.parent.mkdir(exist_ok=True)
        _log_to(log_path, is_background=False)

    return launch(
        Plan(
            run=f"{run.name} on {joining.name}",
            run_dir=run_dir,
            roles=roles,
            env=child_environment(os.environ),
            announce=announce,
            on_claimed=on_claimed,
            on_up=lambda: announce(f"{joining.name} is up"),
        )
    )


def _introduced(monitoring: Monitoring, announce: Callable[[str], None]) -> Sequence[Role]:
    """Say where the monitoring that starts now can be looked at."""
    roles = monitoring.roles()
    for role in roles:
        if role.replicas:
            announce(f"{role.name}: {url(role.port)}")
    return roles


def introduce(prepared: Prepared, announce: Callable[[str], None]) -> None:
    """Say what the user should know before the run starts, and where its logs are."""
    for notice in prepared.loaded.notices:
        announce(f"note: {notice}")
    for line in prepared.disk.lines():
        announce(line)
    announce(f"run {prepared.config.trainer.run_name}: logs in {prepared.run_dir}/logs")


def _log_to(path: Path, *, is_background: bool) -> None:
    if is_background:
        redirect_output(path)
    # Line by line: the last lines before a crash are the ones that matter.
    logs.configure(service="launcher", stream=path.open("a", buffering=1))
