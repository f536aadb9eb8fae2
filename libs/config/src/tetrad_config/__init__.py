"""The run file, its overrides, presets and the plan of a run; and the settings of each service process.

Reads YAML, environment and command line, and turns them into frozen values that were checked once. Knows no service,
and imports neither torch nor sglang.
"""

from tetrad_config.engine_gpus import about_gpus, gpus_of_engines
from tetrad_config.errors import ConfigError, Problem
from tetrad_config.gpu_use import Gpu, gpu_uses
from tetrad_config.layer import Origin, OriginKind
from tetrad_config.loader import LoadedConfig, load
from tetrad_config.machine import Refusal, check_machine, commands_to_run, overrides_to_run
from tetrad_config.machine_facts import MachineFacts, probe_machine, visible_gpus
from tetrad_config.model_size import num_parameters
from tetrad_config.plan import Plan, plan
from tetrad_config.plan_text import render
from tetrad_config.process import (
    BroadcasterSettings,
    CoordinatorSettings,
    HostSettings,
    LogFormat,
    LogLevel,
    RewardSettings,
    RolloutSettings,
    ServiceSettings,
    TrainerSettings,
    WeightTransportChoice,
)
from tetrad_config.resolved import config_hash, dump_resolved, is_resolved, learning_changes, load_resolved
from tetrad_config.run import RunConfig
from tetrad_config.run_file import preset_names
from tetrad_config.settings import describe_settings, load_settings, secret, show_settings
from tetrad_config.threads import thread_environment, threads_per_process

__all__ = [
    "BroadcasterSettings",
    "ConfigError",
    "CoordinatorSettings",
    "Gpu",
    "HostSettings",
    "LoadedConfig",
    "LogFormat",
    "LogLevel",
    "MachineFacts",
    "Origin",
    "OriginKind",
    "Plan",
    "Problem",
    "Refusal",
    "RewardSettings",
    "RolloutSettings",
    "RunConfig",
    "ServiceSettings",
    "TrainerSettings",
    "WeightTransportChoice",
    "about_gpus",
    "check_machine",
    "commands_to_run",
    "config_hash",
    "describe_settings",
    "dump_resolved",
    "gpu_uses",
    "gpus_of_engines",
    "is_resolved",
    "learning_changes",
    "load",
    "load_resolved",
    "load_settings",
    "num_parameters",
    "overrides_to_run",
    "plan",
    "preset_names",
    "probe_machine",
    "render",
    "secret",
    "show_settings",
    "thread_environment",
    "threads_per_process",
    "visible_gpus",
]
