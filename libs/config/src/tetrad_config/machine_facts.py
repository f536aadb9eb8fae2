"""Machine facts: what a host has, looked up without importing torch or sglang. The one place that looks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tetrad_config.attention import Capability
from tetrad_config.chat_template import template_file
from tetrad_config.foreign import functions_of_others, unusable
from tetrad_config.loggers import missing_loggers
from tetrad_config.model_size import linear_layers, num_heads
from tetrad_config.run import RunConfig
from tetrad_config.section import OFF
from tetrad_config.server_arguments import installed_arguments
from tetrad_config.trainer import Logger

_NVIDIA_SMI: Final = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
_COMPUTE_CAPABILITY: Final = ("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
_PROBE_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What one host has."""

    num_cores: int
    """Cores that this process may use."""
    gpus: tuple[str, ...]
    """Names of the GPUs, in order."""
    has_sglang: bool
    """Whether sglang can be imported."""
    is_sglang_on_cpu: bool = False
    """Whether sglang was told to compute on the processor (SGLANG_USE_CPU_ENGINE=1)."""
    is_offline: bool
    """Whether the Hugging Face Hub is not to be asked."""
    absent: frozenset[str]
    """Files and models that the run file names and that are not here."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with the functions of others that the run file names, by key."""
    missing_loggers: tuple[Logger, ...] = ()
    """Loggers that the run file names and whose package is not installed."""
    layers: tuple[str, ...] | None = None
    """Linear layers of the model that gets adapters; None where it gets none, or they cannot be looked up here."""
    heads: int | None = None
    """Attention heads of the policy; None where they cannot be looked up here."""
    capabilities: tuple[Capability, ...] = ()
    """Of the GPUs; looked up only where the run file names an attention backend."""
    server_arguments: frozenset[str] | None = None
    """Of the installed SGLang; looked up only where the run file names some, None where that tells nothing."""
    lacks_template: bool = False
    """Whether the policy is a folder here, and has no chat template."""


def _visible(names: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Keep the GPUs that CUDA_VISIBLE_DEVICES leaves; an empty or negative list hides all."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return tuple(names)
    kept = [part.strip() for part in chosen.split(",") if part.strip() not in ("", "-1", "NoDevFiles")]
    return tuple(names[int(k)] if k.isdigit() and int(k) < len(names) else "GPU" for k in kept)[: len(names)]


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that a process with these variables sees, as CUDA_VISIBLE_DEVICES names them."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    names = _gpu_names()
    if chosen is None:
        return tuple(str(number) for number in range(len(names)))
    return tuple(part.strip() for part in chosen.split(",") if part.strip() not in ("", "-1", "NoDevFiles"))


def _gpu_names() -> list[str]:
    try:
        return _asked(_NVIDIA_SMI)
    except (OSError, subprocess.SubprocessError):
        return ["GPU" for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()]


def _asked(command: Sequence[str]) -> list[str]:
    listing = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True)
    return [line.strip() for line in listing.stdout.splitlines() if line.strip()]


def _capabilities(config: RunConfig, environ: Mapping[str, str]) -> tuple[Capability, ...]:
    if "attention_backend" not in config.generator.engine_init_kwargs:
        return ()
    try:
        found = _visible(_asked(_COMPUTE_CAPABILITY), environ)
    except (OSError, subprocess.SubprocessError):
        return ()
    parts = [one.split(".") for one in found]
    return tuple((int(part[0]), int(part[1])) for part in parts if len(part) == 2 and all(p.isdigit() for p in part))


def _is_hub_name(model: str) -> bool:
    """`model` or `organisation/model`, rather than a path."""
    return not model.startswith(("/", ".", "~")) and model.count("/") <= 1


def _is_cached(name: str, environ: Mapping[str, str]) -> bool:
    home = Path(environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(environ.get("HF_HUB_CACHE", home / "hub"))
    return (cache / f"models--{name.replace('/', '--')}").is_dir()


def models_loaded(config: RunConfig) -> dict[str, str]:
    """Return the models that the run loads, by the key that names them; evaluation alone needs but the policy."""
    algorithm = config.trainer.algorithm
    models = {"trainer.policy.model.path": config.trainer.policy.model.path}
    if config.trainer.epochs == 0:
        return models
    if algorithm.use_kl_loss or algorithm.use_kl_in_reward:
        models["trainer.ref.model.path"] = config.trainer.ref.model.path
    if config.trainer.has_critic and config.trainer.critic.model.path is not None:
        models["trainer.critic.model.path"] = config.trainer.critic.model.path
    return models


def files_read(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """Return the files that the run reads, by the key that names them."""
    trainer, files = config.trainer, dict[str, tuple[str, ...]]()
    if trainer.epochs > 0:
        files["data.train_data"] = config.data.train_data
    if trainer.eval_before_train or (trainer.epochs > 0 and trainer.eval_interval != OFF):
        files["data.val_data"] = config.data.val_data
    return files


def probe_machine(config: RunConfig, environ: Mapping[str, str]) -> MachineFacts:
    """Look at this host: GPUs, cores, sglang, and the files, models and functions that `config` names."""
    policy = config.trainer.policy.model.path
    is_offline = environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    files = [file for listed in files_read(config).values() for file in listed]
    absent = {file for file in files if not Path(file).exists()}
    for model in models_loaded(config).values():
        can_be_fetched = _is_hub_name(model) and (not is_offline or _is_cached(model, environ))
        if not Path(model).is_dir() and not can_be_fetched:
            absent.add(model)
    return MachineFacts(
        num_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        gpus=_visible(_gpu_names(), environ),
        has_sglang=find_spec("sglang") is not None,
        is_sglang_on_cpu=os.environ.get("SGLANG_USE_CPU_ENGINE") == "1",
        is_offline=is_offline,
        absent=frozenset(absent),
        unusable=unusable(functions_of_others(config)),
        missing_loggers=missing_loggers(config),
        layers=_layers_of_adapters(config),
        heads=num_heads(policy),
        capabilities=_capabilities(config, environ),
        server_arguments=installed_arguments() if config.generator.engine_init_kwargs else None,
        lacks_template=Path(policy).is_dir() and template_file(Path(policy)) is None,
    )


def _layers_of_adapters(config: RunConfig) -> tuple[str, ...] | None:
    policy = config.trainer.policy.model
    layers = linear_layers(policy.path) if policy.lora.rank > 0 else None
    return None if layers is None else tuple(layers)
