"""The processes of a training run: which roles, in what order, and what each is told.

Pure. The launcher knows none of this, and the services learn the rest from the run's config.yaml.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tetrad_cli.launch.roles import OnExit, Role
from tetrad_cli.places import CLEAR_TCP, KEYS, Places, places
from tetrad_config import RunConfig, about_gpus, gpus_of_engines, thread_environment, threads_per_process
from tetrad_config.reward_record import FIRST, Edition

MAX_REPLICAS: Final = 256
PREFIX: Final = "TETRAD_"
# The variables of the launcher's own surroundings that are meant for the services too.
PASSED_ON: Final = (
    "TETRAD_LOG_LEVEL",
    "TETRAD_LOG_FORMAT",
    "TETRAD_WEIGHT_TRANSPORT",
    "TETRAD_GROUP_HOST",
    KEYS,
    CLEAR_TCP,
)
MODEL_LOAD_DEADLINE_S: Final = 900.0


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what children start from: ours without `TETRAD_*`, whose say in the run is in config.yaml by now."""
    kept = {key: value for key, value in environ.items() if not key.startswith(PREFIX) or key in PASSED_ON}
    return {"TETRAD_LOG_FORMAT": "console", "PYTHONUNBUFFERED": "1", **kept}


def fleet(
    config: RunConfig,
    *,
    run_dir: Path,
    runtime_dir: Path,
    num_cores: int | None = None,
    gpus: Sequence[str] = (),
    skip_step: int | None = None,
    bind: str | None = None,
    edition: Edition = FIRST,
) -> list[Role]:
    """Return the roles of a run; sockets are in `runtime_dir`, threads are shared among `num_cores`.

    `gpus` are the visible ones, as CUDA_VISIBLE_DEVICES names them; engines are spread over them.
    `skip_step` is for the learner: the poisoned training step that the run goes on without. `bind` is where the
    coordinator is on the network; None keeps everything on this host. `edition` is of the reward.
    """
    cores = num_cores if num_cores is not None else len(os.sched_getaffinity(0))
    computing = thread_environment(threads_per_process(config, cores))
    light = thread_environment(1)
    where = places(runtime_dir, bind=bind)
    # Where it is known from the start, engines test the way to it before they load.
    linked = {} if where.known_broadcaster is None else {"TETRAD_BROADCASTER": where.known_broadcaster}
    skipping = {} if skip_step is None else {"TETRAD_SKIP_STEP": str(skip_step)}
    shared = _shared(run_dir, where)
    return [
        Role(
            name="learner",
            argv=module("tetrad_learner"),
            stage=0,
            env={**computing, **shared, **skipping, "TETRAD_BIND": where.coordinator},
            on_exit=OnExit.ENDS_RUN,
            settled_path="/readyz",
            settle_deadline_s=max(MODEL_LOAD_DEADLINE_S, config.trainer.stall_timeout),
            # It may be writing the last checkpoint.
            grace_s=120.0,
        ),
        Role(
            name="broadcaster",
            argv=module("tetrad_broadcaster"),
            stage=1,
            env={**light, **shared, "TETRAD_BIND": where.broadcaster},
        ),
        reward_role(config, edition=edition, run_dir=run_dir, where=where),
        _rollouts(config, env={**computing, **shared, **linked}, visible=gpus),
    ]


def reward_role(
    config: RunConfig, *, edition: Edition, run_dir: Path, where: Places, run_config: Path | None = None
) -> Role:
    """Return the role of one implementation of the reward; it reads `run_config`, or the run's own where that is None.

    Replicas of later editions have names of their own: they start while those of the one before still serve.
    """
    label = "reward" if edition.number == FIRST.number else f"reward-v{edition.number}"
    shared = _shared(run_dir, where)
    return Role(
        name="reward",
        label=label,
        argv=module("tetrad_reward"),
        stage=1,
        replicas=0 if edition.endpoints else config.reward.num_replicas,
        max_replicas=MAX_REPLICAS,
        outside=f"others keep the reward, at {', '.join(edition.endpoints)}" if edition.endpoints else "",
        env={
            **thread_environment(1),
            **shared,
            "TETRAD_RUN_CONFIG": str(run_config or shared["TETRAD_RUN_CONFIG"]),
            "TETRAD_EDITION": str(edition.number),
            "TETRAD_BIND": where.reward_of(label),
        },
    )


def _shared(run_dir: Path, where: Places) -> dict[str, str]:
    return {
        "TETRAD_RUN_DIR": str(run_dir),
        "TETRAD_RUN_CONFIG": str(run_dir / "config.yaml"),
        "TETRAD_COORDINATOR": where.coordinator,
        "TETRAD_NAME": "{name}",
        "TETRAD_METRICS_PORT": "{port}",
    }


def _rollouts(config: RunConfig, *, env: Mapping[str, str], visible: Sequence[str]) -> Role:
    gpus = gpus_of_engines(config, visible)
    return Role(
        name="rollout",
        argv=module("tetrad_rollout"),
        stage=2,
        # It loads its model meanwhile. It drains before the rewards go: its last turns are to be graded.
        start_stage=1,
        replicas=config.generator.num_inference_engines,
        max_replicas=len(gpus) or MAX_REPLICAS,
        why_no_more=about_gpus(config, len(visible)),
        # Learner and engines know from the number which replicas share their GPUs.
        is_numbered=True,
        env=env,
        gpus=gpus,
        start_deadline_s=MODEL_LOAD_DEADLINE_S,
    )


def module(name: str) -> tuple[str, ...]:
    """Return the command that runs a module by this very Python."""
    return (sys.executable, "-m", name)
