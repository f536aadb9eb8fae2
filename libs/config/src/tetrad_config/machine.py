"""Machine: where a run file asks for more than a host has, and the overrides that make the run fit.

Looks at nothing but the facts that it is given and the presets that ship with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_config.attention import BACKENDS, unfit
from tetrad_config.chat_template import REMEDY
from tetrad_config.engine_gpus import num_gpus_asked
from tetrad_config.foreign import functions_of_others
from tetrad_config.generator import Backend
from tetrad_config.layer import Origin
from tetrad_config.loggers import install_command
from tetrad_config.machine_facts import MachineFacts, files_read, models_loaded
from tetrad_config.model_size import is_called
from tetrad_config.models import ALL_LINEAR
from tetrad_config.overrides import PRESET_GROUP
from tetrad_config.run import RunConfig
from tetrad_config.run_file import BUILT_IN, read_yaml
from tetrad_config.section import OFF, DottedKey
from tetrad_config.server_arguments import complaint
from tetrad_config.shown import shown
from tetrad_config.tree import leaves

CPU: Final = "cpu"
CPU_PRESET: Final = f"+{PRESET_GROUP}={CPU}"
TENSOR_PARALLEL: Final = "generator.inference_engine_tensor_parallel_size"
Origins = Mapping[DottedKey, Origin]

NOT_BUILT_ENGINES: Final[Mapping[Backend, str]] = {}
"""Engines that a run file may name and that no machine can run; whoever builds one deletes its line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One thing that a run file asks for and the machine lacks."""

    key: str
    """Key that asks."""
    asked: str
    """What it asks for."""
    found: str
    """What there is."""
    overrides: tuple[str, ...] = ()
    """Words for the command line that make it run."""
    command: str = ""
    """A command to run first, where one helps."""

    def __str__(self) -> str:
        fixes = [part for part in (self.command and f"run `{self.command}`", " ".join(self.overrides)) if part]
        fix = f"; fix: {', then add '.join(fixes)}" if fixes else ""
        return f"{self.key}: asks for {self.asked}; {self.found}{fix}"


def _for_cpu(origins: Origins) -> tuple[str, ...]:
    """Return the preset, and again what it sets where environment or command line would win over it."""
    preset = read_yaml(BUILT_IN / PRESET_GROUP / f"{CPU}.yaml")
    overruled = {key for key, origin in origins.items() if origin.kind.beats_presets}
    again = (
        f"~{key}" if value is None else f"{key}={value if isinstance(value, str) else shown(value)}"
        for key, value in leaves(preset)
        if any(key == known or known.startswith(f"{key}.") for known in overruled)
    )
    return (CPU_PRESET, *again)


def _without_sglang(config: RunConfig, facts: MachineFacts, origins: Origins) -> tuple[str, ...]:
    """Return what makes a run for SGLang one for transformers on this machine."""
    if not facts.gpus:
        return _for_cpu(origins)
    overrides = ["generator.backend=transformers"]
    if config.trainer.placement.colocate_all:
        overrides.append("trainer.placement.colocate_all=false")
    if config.generator.inference_engine_tensor_parallel_size > 1:
        overrides.append(f"{TENSOR_PARALLEL}=1")
    if config.generator.engine_init_kwargs:
        overrides.append("~generator.engine_init_kwargs")
    return tuple(overrides)


def _engine(config: RunConfig, facts: MachineFacts, origins: Origins) -> Iterator[Refusal]:
    backend = config.generator.backend
    reason = NOT_BUILT_ENGINES.get(backend)
    if reason is None and backend is Backend.SGLANG and not facts.has_sglang:
        reason = "sglang is not installed"
    if reason:
        fix = _without_sglang(config, facts, origins)
        yield Refusal(key="generator.backend", asked=str(backend), found=reason, overrides=fix)


def _splits(config: RunConfig, ranks: int) -> bool:
    """Whether a mini-batch splits evenly over so many ranks, and there into micro-batches."""
    trainer = config.trainer
    samples = trainer.policy_mini_batch_size * config.generator.n_samples_per_prompt
    micro = trainer.micro_train_batch_size_per_gpu if trainer.max_tokens_per_microbatch == OFF else 1
    return samples % (ranks * micro) == 0 and trainer.train_batch_size >= ranks


def _fitting(config: RunConfig, found: int, origins: Origins) -> tuple[str, ...]:
    """Return the largest learner and engines that fit `found` GPUs, shared or side by side.

    An engine keeps its number of GPUs while there are so many; else it gets one.
    """
    is_shared, asked = config.trainer.placement.colocate_all, config.generator.gpus_per_engine
    for per_engine in (asked, 1) if asked > 1 else (1,):
        if fitting := _fitting_engines(config, found, per_engine, is_shared=is_shared):
            whole = () if per_engine == asked else (f"{TENSOR_PARALLEL}=1",)
            return (*fitting, *whole)
    return _for_cpu(origins)


def _fitting_engines(config: RunConfig, found: int, per_engine: int, *, is_shared: bool) -> tuple[str, ...]:
    for engines in range(found // per_engine, 0, -1):
        ranks = engines * per_engine if is_shared else found - engines * per_engine
        # Side by side, engines get no more than the learner: it has the larger part of the work.
        if ranks >= 1 and (is_shared or ranks >= engines * per_engine) and _splits(config, ranks):
            return (f"trainer.placement.policy_num_gpus_per_node={ranks}", f"generator.num_inference_engines={engines}")
    return ()


def _gpus(config: RunConfig, facts: MachineFacts, origins: Origins) -> Iterator[Refusal]:
    needed, found = num_gpus_asked(config), len(facts.gpus)
    if config.generator.backend is not Backend.SGLANG or needed <= found or facts.is_sglang_on_cpu:
        return
    here = f"this machine has {found}"
    yield Refusal(
        key="trainer.placement",
        asked=f"{needed} GPUs ({_shares(config)})",
        found=here,
        overrides=_fitting(config, found, origins),
    )


def _shares(config: RunConfig) -> str:
    ranks, generator = config.trainer.placement.policy_num_gpus_per_node, config.generator
    engines = f"{generator.num_inference_engines} engines x {generator.gpus_per_engine}"
    if config.trainer.placement.colocate_all:
        return f"{ranks} ranks share them with {engines}"
    return f"{ranks} ranks + {engines}"


def _heads(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    """Each GPU of an engine gets as many attention heads as the others."""
    size, heads = config.generator.inference_engine_tensor_parallel_size, facts.heads
    if heads is None or heads % size == 0 or config.generator.backend is not Backend.SGLANG:
        return
    fit = max(divisor for divisor in range(1, size) if heads % divisor == 0)
    yield Refusal(
        key=TENSOR_PARALLEL,
        asked=f"{size} GPUs for each engine",
        found=f"the {heads} attention heads of {config.trainer.policy.model.path} do not split evenly over them",
        overrides=(f"{TENSOR_PARALLEL}={fit}",),
    )


def _colocation(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    """Engines that compute on the CPU have no GPU to share; on a host without GPUs they may rehearse it."""
    backend = config.generator.backend
    if config.trainer.placement.colocate_all and facts.gpus and backend is not Backend.SGLANG:
        yield Refusal(
            key="trainer.placement.colocate_all",
            asked=f"a GPU for learner and generator.backend={backend} together",
            found=f"{backend} computes on the CPU",
            overrides=("trainer.placement.colocate_all=false",),
        )


def _number_format(config: RunConfig, facts: MachineFacts, origins: Origins) -> Iterator[Refusal]:
    if facts.gpus or config.generator.backend is not Backend.TRANSFORMERS:
        return
    if config.trainer.bf16:
        yield Refusal(
            key="trainer.bf16",
            asked="bfloat16",
            found="without a GPU it is several times slower than float32",
            overrides=_for_cpu(origins),
        )
    if config.generator.model_dtype.value != "float32":
        yield Refusal(
            key="generator.model_dtype",
            asked=config.generator.model_dtype.value,
            found="without a GPU engines compute in float32",
            overrides=_for_cpu(origins),
        )


def _attention(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    """SGLang would say so as well, by an assertion, once the model is loaded."""
    backend = config.generator.engine_init_kwargs.get("attention_backend")
    if config.generator.backend is Backend.SGLANG and (bad := unfit(backend, facts.capabilities)) is not None:
        yield Refusal(
            key="generator.engine_init_kwargs.attention_backend",
            asked=str(backend),
            found=f"it needs {BACKENDS[str(backend)]}, and a GPU here has {'.'.join(map(str, bad))}; without the key "
            "the backend follows the GPU",
            overrides=("~generator.engine_init_kwargs.attention_backend",),
        )


def _server_arguments(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    """The engine would say so as well, once its process has begun."""
    if config.generator.backend is not Backend.SGLANG or facts.server_arguments is None:
        return
    for name, value in config.generator.engine_init_kwargs.items():
        if found := complaint(name, facts.server_arguments):
            key = f"generator.engine_init_kwargs.{name}"
            yield Refusal(key=key, asked=str(value), found=f"it {found}", overrides=(f"~{key}",))


def _template(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    if facts.lacks_template:
        yield Refusal(
            key="trainer.policy.model.path",
            asked=config.trainer.policy.model.path,
            found=f"it has no chat template, so that no prompt can be rendered; {REMEDY}",
        )


def _model_files(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    for key, model in models_loaded(config).items():
        if model not in facts.absent:
            continue
        folder = "~/models/SmolLM2-135M-Instruct"
        yield Refusal(
            key=key,
            asked=model,
            found="there is no such model folder"
            + (" and the Hub is off (HF_HUB_OFFLINE)" if facts.is_offline else ""),
            overrides=(f"{key}={folder}",),
            command=f"tetrad data smollm2 --output-dir {folder}",
        )


def _data_files(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    for key, files in files_read(config).items():
        for file in files:
            if file in facts.absent:
                is_gsm8k = "gsm8k" in file.lower() and file.endswith(".parquet")
                yield Refusal(
                    key=key,
                    asked=file,
                    found="there is no such file",
                    overrides=() if is_gsm8k else (f"{key}=[FILE]",),
                    command=f"tetrad data gsm8k --output-dir {Path(file).parent}" if is_gsm8k else "",
                )


def _functions(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    for key, function in functions_of_others(config).items():
        if key in facts.unusable:
            yield Refusal(key=key, asked=function, found=facts.unusable[key])


def _loggers(_config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    for logger in facts.missing_loggers:
        command = install_command(logger)
        yield Refusal(key="trainer.logger", asked=str(logger), found="it is not installed", command=command)


def _adapters(config: RunConfig, facts: MachineFacts, _origins: Origins) -> Iterator[Refusal]:
    """Whether each name of a layer finds one: peft would take the others, and say nothing."""
    lora = config.trainer.policy.model.lora
    if facts.layers is None or lora.rank == 0:
        return
    known = ", ".join(sorted({path.rpartition(".")[2] for path in facts.layers}))
    for key in ("target_modules", "exclude_modules"):
        for name in getattr(lora, key):
            if name != ALL_LINEAR and not any(is_called(path, name) for path in facts.layers):
                yield Refusal(
                    key=f"trainer.policy.model.lora.{key}",
                    asked=name,
                    found=f"the linear layers of {config.trainer.policy.model.path} between its two ends are {known}",
                )


def check_machine(config: RunConfig, facts: MachineFacts, *, origins: Origins | None = None) -> list[Refusal]:
    """Return where `config` asks for what the machine lacks; empty means that it can run here.

    With the `origins` of the values, the overrides that are named also win over what stands on the command line.
    """
    checks = (
        *(_engine, _gpus, _heads, _colocation, _number_format, _attention, _server_arguments),
        *(_model_files, _template, _data_files, _functions, _loggers, _adapters),
    )
    return [refusal for check in checks for refusal in check(config, facts, origins or {})]


def overrides_to_run(refusals: Sequence[Refusal]) -> tuple[str, ...]:
    """Return every override that the refusals name, each once, presets first."""
    named = dict.fromkeys(override for refusal in refusals for override in refusal.overrides)
    return tuple(sorted(named, key=lambda override: not override.startswith("+experiment=")))


def commands_to_run(refusals: Sequence[Refusal]) -> tuple[str, ...]:
    """Return every command that the refusals name, each once."""
    return tuple(dict.fromkeys(refusal.command for refusal in refusals if refusal.command))
