"""`--check`: whether this host could run ranks, without running any."""

from pathlib import Path

from tetrad_config import HostSettings, RunConfig
from tetrad_config.machine_facts import models_loaded
from tetrad_learner.coordinator.checking import check_writable
from tetrad_runtime.exits import ConfigFault, ExitCode
from tetrad_runtime.wiring import check_wiring
from tetrad_transport.keys import KeyRole


def check(settings: HostSettings, config: RunConfig) -> int:
    """Say what was found; raises ConfigFault for what the user wrote, MachineFault for what the machine lacks."""
    check_wiring(settings, KeyRole.TRAINER)
    missing = [
        f"{key}: there is no {name} on this host"
        for key, name in models_loaded(config).items()
        if not Path(name).exists()
    ]
    if missing:
        raise ConfigFault("\n".join(missing))
    check_writable(settings.run_dir)
    num_ranks = config.trainer.placement.policy_num_gpus_per_node
    print(f"ok: {settings.name} runs {num_ranks} ranks when {settings.coordinator} asks for them")
    return ExitCode.OK
