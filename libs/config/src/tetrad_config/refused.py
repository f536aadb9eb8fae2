"""Refused: keys that are known but cannot be obeyed, with the reason for each.

Two literal tables. `OUT_OF_SCOPE` are keys of SkyRL that Tetrad does not have: they may stand in a run file with their
harmless value and are then dropped. `NOT_BUILT` are keys that Tetrad has and does not obey yet: whoever builds one
deletes its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from tetrad_config.errors import Problem
from tetrad_config.section import DottedKey
from tetrad_config.shown import shown
from tetrad_config.tree import Tree, contains, lookup, without


@dataclass(frozen=True, slots=True)
class Refusable:
    """A key that is accepted with some values only."""

    accepted: tuple[JsonValue, ...]
    """Values that change nothing."""
    reason: str
    """Why no other value is."""


_MEGATRON: Final = "Megatron is not part of Tetrad; parameters are sharded with FSDP2"
_VLLM: Final = "it is an option of vLLM, which Tetrad does not use"
_RAY: Final = "Tetrad does not use Ray"
_HTTP: Final = "rollouts have no HTTP endpoint; they are reached over ZeroMQ"
_EXTERNAL: Final = "engines that Tetrad does not start cannot take or certify weights"


def _megatron(model: str) -> dict[str, Refusable]:
    values: dict[str, JsonValue] = {
        "tensor_model_parallel_size": 1,
        "pipeline_model_parallel_size": 1,
        "context_parallel_size": 1,
        "expert_model_parallel_size": 1,
        "expert_tensor_parallel_size": None,
        "model_config_kwargs": {},
        "transformer_config_kwargs": {},
        "optimizer_config_kwargs": {},
        "torch_profiler_config.enable": False,
        "torch_profiler_config.ranks": [],
        "torch_profiler_config.save_path": None,
        "lora_config.lora_type": "lora",
        "empty_cuda_cache": True,
        "ddp_config.grad_reduce_in_fp32": True,
        "ddp_config.overlap_grad_reduce": False,
        "ddp_config.overlap_param_gather": False,
        "ddp_config.average_in_collective": True,
        "optimizer_config_kwargs.overlap_cpu_optimizer_d2h_h2d": False,
        "optimizer_config_kwargs.use_precision_aware_optimizer": False,
        "optimizer_config_kwargs.optimizer_cpu_offload": False,
        "optimizer_config_kwargs.optimizer_offload_fraction": 0.0,
        "transformer_config_kwargs.recompute_granularity": "full",
        "transformer_config_kwargs.recompute_modules": ["core_attn"],
        "transformer_config_kwargs.recompute_method": "uniform",
        "transformer_config_kwargs.recompute_num_layers": 1,
    }
    return {f"trainer.{model}.megatron_config.{name}": Refusable((value,), _MEGATRON) for name, value in values.items()}


OUT_OF_SCOPE: Final[Mapping[str, Refusable]] = {
    **_megatron("policy"),
    **_megatron("ref"),
    "trainer.sequence_parallel_backend": Refusable(("ulysses",), "there is one kind of sequence parallelism"),
    "trainer.hf_save_interval": Refusable(
        (-1,), "every checkpoint is a Hugging Face folder already; set trainer.ckpt_interval"
    ),
    "trainer.dump_data_batch": Refusable((False,), "the journal holds every batch; set journal.keep=all"),
    "trainer.policy.model.lora.lora_sync_path": Refusable(
        ("/tmp/skyrl_lora_sync",),  # noqa: S108  # SkyRL's default, never opened
        "adapters are not synced through the disk",
    ),
    "generator.vllm_v1_disable_multiproc": Refusable((True,), _VLLM),
    "generator.fully_sharded_loras": Refusable((False,), _VLLM),
    "generator.enable_ray_prometheus_stats": Refusable((False,), f"{_RAY}; every service serves /metrics"),
    "generator.override_existing_update_group": Refusable(("auto",), "every weight transfer uses a group of its own"),
    "generator.weight_transfer_threshold_cuda_ipc_GB": Refusable((1.0,), "weights travel in buckets of a fixed size"),
    "generator.async_engine": Refusable((True,), "engines are always asynchronous"),
    "generator.run_engines_locally": Refusable((True,), _EXTERNAL),
    "generator.remote_inference_engine_urls": Refusable((None, [], ["127.0.0.1:8001"]), _EXTERNAL),
    "generator.external_proxy_url": Refusable((None,), _EXTERNAL),
    "generator.external_server_urls": Refusable((None, []), _EXTERNAL),
    "generator.enable_http_endpoint": Refusable((False,), _HTTP),
    "generator.http_endpoint_host": Refusable(("127.0.0.1",), _HTTP),
    "generator.http_endpoint_port": Refusable((8000,), _HTTP),
    "generator.served_model_name": Refusable((None,), _HTTP),
    "environment.skyrl_gym.max_env_workers": Refusable(
        (32,), "environments run in worker processes of the reward service; set reward.num_workers"
    ),
}

_CRITIC: Final = "adapters of the critic are not built; all its weights are trained"
_LORA_INIT: Final = "other ways change the base, which is the reference, or begin with another policy than the model"
_SHARDING: Final = "parameters are sharded over all ranks"
_ROPE: Final = "the model's own rotary embedding is used"

NOT_BUILT: Final[Mapping[str, Refusable]] = {
    "trainer.strategy": Refusable(("fsdp2",), "fsdp2 is the only strategy that is built"),
    "trainer.placement.colocate_policy_ref": Refusable((True,), "the reference always runs on the policy's ranks"),
    "trainer.critic.model.lora.rank": Refusable((0,), _CRITIC),
    "trainer.policy.model.lora.init_method": Refusable(("kaiming", "gaussian"), _LORA_INIT),
    "trainer.fully_async.num_parallel_generation_workers": Refusable(
        (None,), "running groups are bounded by max_staleness_steps and generator.max_num_seqs"
    ),
    "trainer.gradient_checkpointing_use_reentrant": Refusable((False,), "the reentrant kind is not built"),
    "trainer.disable_fast_tokenizer": Refusable((False,), "only fast tokenizers are supported"),
    "trainer.rope_scaling": Refusable((None,), _ROPE),
    "trainer.rope_theta": Refusable((None,), _ROPE),
    "trainer.policy.record_memory": Refusable((False,), "memory snapshots are not built yet"),
    **{
        f"trainer.{model}.{name}": Refusable((value,), reason)
        for model in ("policy", "critic", "ref")
        for name, value, reason in (
            ("fsdp_config.fsdp_size", -1, _SHARDING),
            ("sequence_parallel_size", 1, "sequence parallelism is not built yet"),
            ("model_config_kwargs", {}, "the model's own configuration is used"),
        )
    },
    "generator.inference_engine_pipeline_parallel_size": Refusable((1,), "pipeline parallel engines are not built"),
    "generator.inference_engine_expert_parallel_size": Refusable((1,), "expert parallel engines are not built"),
    "generator.inference_engine_data_parallel_size": Refusable(
        (1,), "add replicas instead; set generator.num_inference_engines"
    ),
    "generator.use_conversation_multi_turn": Refusable((True,), "turns are always messages of one conversation"),
    "generator.append_eos_token_after_stop_str_in_multi_turn": Refusable(
        (True,), "the template's own end of a turn always follows, masked from the loss"
    ),
    "generator.step_wise_trajectories": Refusable((False,), "turns as samples of their own are not built yet"),
    "generator.chat_template.name_or_path": Refusable((None,), "the model's own template is used"),
    "generator.chat_template_kwargs": Refusable(({},), "variables of the chat template are not built yet"),
    "generator.rope_scaling": Refusable((None,), _ROPE),
    "generator.rope_theta": Refusable((None,), _ROPE),
    **{
        f"generator.{params}.{name}": Refusable(values, reason)
        for params in ("sampling_params", "eval_sampling_params")
        for name, values, reason in (
            ("repetition_penalty", (1.0,), "a repetition penalty is not built yet"),
            ("logprobs", (0, 1, None), "the drawn token's log-prob is all that is returned"),
        )
    },
}

UNBUILT_LOGGERS: Final[Mapping[str, str]] = {
    "swanlab": "SwanLab is not built yet",
}


def _is_same(value: JsonValue, accepted: JsonValue) -> bool:
    """Equal, and not merely because Python counts true as 1."""
    return value == accepted and isinstance(value, bool) == isinstance(accepted, bool)


def _has_entries(value: JsonValue, name: str, table: Mapping[str, Refusable]) -> bool:
    """Tell whether `value` holds entries that have lines of their own."""
    return isinstance(value, dict) and bool(value) and any(other.startswith(f"{name}.") for other in table)


def _problems_of(tree: Tree, table: Mapping[str, Refusable]) -> Iterator[Problem]:
    for name, refusable in table.items():
        key = DottedKey(name)
        if not contains(tree, key):
            continue
        value = lookup(tree, key)
        if _has_entries(value, name, table):
            continue
        if not any(_is_same(value, accepted) for accepted in refusable.accepted):
            harmless = shown(refusable.accepted[0])
            yield Problem(
                key=name,
                message=f"{shown(value)} is refused: {refusable.reason}; accepted: {harmless}, or leave it out",
            )


def _logger_problems(tree: Tree) -> Iterator[Problem]:
    asked = lookup(tree, DottedKey("trainer.logger"))
    for name in asked if isinstance(asked, list) else [asked]:
        if isinstance(name, str) and name in UNBUILT_LOGGERS:
            yield Problem(
                key="trainer.logger",
                message=(
                    f"{name} is refused: {UNBUILT_LOGGERS[name]}; "
                    "accepted: console, tensorboard, wandb, mlflow, trackio"
                ),
            )


def refusals(tree: Tree) -> list[Problem]:
    """Return a problem for every key whose value cannot be obeyed."""
    return [*_problems_of(tree, OUT_OF_SCOPE), *_problems_of(tree, NOT_BUILT), *_logger_problems(tree)]


def _without_empty(tree: Tree, key: str) -> Tree:
    """Remove the sections above `key` that dropping it left empty."""
    section, _, _ = key.rpartition(".")
    if not section or lookup(tree, DottedKey(section)) != {}:
        return tree
    return _without_empty(without(tree, DottedKey(section)), section)


def without_harmless(tree: Tree) -> Tree:
    """Return `tree` without the keys that Tetrad does not have; unknown ones stay, to be found."""
    for name in OUT_OF_SCOPE:
        key = DottedKey(name)
        if contains(tree, key) and not _has_entries(lookup(tree, key), name, OUT_OF_SCOPE):
            tree = _without_empty(without(tree, key), name)
    return tree
