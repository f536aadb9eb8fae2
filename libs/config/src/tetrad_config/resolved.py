"""Resolved: the run file as it is kept in the run's folder, and its fingerprint.

`config.yaml` holds every key with its final value; a comment says where each value comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError

from tetrad_config.errors import ConfigError, Problem
from tetrad_config.explain import explained
from tetrad_config.layer import Origin, OriginKind
from tetrad_config.run import RunConfig
from tetrad_config.schema import free_form_parent
from tetrad_config.section import DottedKey
from tetrad_config.shown import shown
from tetrad_config.tree import Tree, leaves, placed, without

_COMMENT_COLUMN: Final = 72
_YAML_WORDS: Final = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
HEADING: Final = "# Every key of this run with its final value. Written by Tetrad; the services of the run read it."

"""First line of every resolved run file: by it one is told from a file of the user's."""

UNHASHED: Final[tuple[str, ...]] = (
    "trainer.project_name",
    "trainer.run_name",
    "trainer.run_dir",
    "trainer.overwrite",
    "trainer.logger",
    "trainer.log_example_interval",
    "trainer.stall_timeout",
    "trainer.epochs",
    "trainer.max_steps",
    "trainer.eval_batch_size",
    "trainer.eval_before_train",
    "trainer.eval_interval",
    "trainer.eval_sampled_n",
    "trainer.dump_eval_results",
    "trainer.ckpt_interval",
    "trainer.ckpt_path",
    "trainer.max_ckpts_to_keep",
    "trainer.best_ckpt_metric",
    "trainer.export_path",
    "trainer.resume_mode",
    "trainer.resume_path",
    "trainer.placement",
    "trainer.micro_train_batch_size_per_gpu",
    "trainer.micro_forward_batch_size_per_gpu",
    "trainer.max_tokens_per_microbatch",
    "trainer.gradient_checkpointing",
    "trainer.flash_attn",
    "data.val_data",
    "generator.max_num_seqs",
    "generator.max_num_batched_tokens",
    "generator.gpu_memory_utilization",
    "generator.enable_prefix_caching",
    "generator.enable_chunked_prefill",
    "generator.enforce_eager",
    "generator.kv_cache_policy",
    "generator.weight_sync_backend",
    "generator.batched",
    "generator.num_inference_engines",
    "generator.weight_sync_timeout",
    "generator.lease_progress_timeout",
    "generator.batch_window",
    "generator.eval_n_samples_per_prompt",
    "generator.eval_sampling_params",
    "environment.llm_judge.max_concurrency",
    "environment.llm_judge.timeout",
    "reward.num_replicas",
    "reward.num_workers",
    "reward.grade_timeout",
    "resources",
    "journal",
)
"""Keys that may change between a run and its resumption: they say how long, how fast and where, not what is learnt."""


def _plain(name: str) -> str:
    """Quote a free-form key that YAML would read as something else."""
    return name if name.isidentifier() and name.lower() not in _YAML_WORDS else shown(name)


def _lines(tree: Tree, origins: Mapping[DottedKey, Origin], prefix: str = "") -> Iterator[str]:
    indent = "  " * (prefix.count(".") + 1 if prefix else 0)
    for name, value in tree.items():
        key = DottedKey(f"{prefix}.{name}" if prefix else name)
        if isinstance(value, dict) and value:
            yield f"{indent}{_plain(name)}:"
            yield from _lines(value, origins, key)
            continue
        line = f"{indent}{_plain(name)}: {shown(value)}"
        yield f"{line:<{_COMMENT_COLUMN}}  # {origins[key]}" if key in origins else line


def dump_resolved(config: RunConfig, origins: Mapping[DottedKey, Origin] | None = None) -> str:
    """Write every key as YAML, with the origin of each value as a comment where `origins` are given."""
    return "\n".join([HEADING, *_lines(config.model_dump(mode="json"), origins or {}), ""])


def shown_lines(
    config: RunConfig,
    origins: Mapping[DottedKey, Origin],
    *,
    below: str = "",
    with_origin: bool = False,
    only_changed: bool = False,
) -> list[str]:
    """Return keys as lines of YAML: all, those at or below a key, or those that do not come from the defaults."""
    tree: Tree = {}
    for key, value in leaves(config.model_dump(mode="json")):
        # Of a free-form key, whose own keys the models do not know, the whole has an origin.
        origin = origins.get(key) or origins.get(free_form_parent(key) or key)
        is_default = origin is None or origin.kind is OriginKind.DEFAULT
        if (not below or key == below or key.startswith(f"{below}.")) and not (only_changed and is_default):
            tree = placed(tree, key, value)
    return list(_lines(tree, origins if with_origin else {}))


def is_resolved(path: Path) -> bool:
    """Tell whether `dump_resolved` wrote a file, rather than a user; False where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline().rstrip() == HEADING
    except OSError:
        return False


def load_resolved(path: Path) -> RunConfig:
    """Read what `dump_resolved` wrote. Nothing is interpolated, and no other source is asked.

    Raises:
        ConfigError: the file cannot be read or is not a run file.
    """
    try:
        # Every text in it is quoted, so any YAML reader will do; nothing in it is interpolated again.
        return RunConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([Problem(key=str(path), message=f"cannot be read: {error}")]) from error
    except ValidationError as error:
        raise ConfigError(explained(error)) from error


def _deciding(config: RunConfig) -> Tree:
    """Return what decides the learning."""
    tree: Tree = config.model_dump(mode="json")
    for key in UNHASHED:
        tree = without(tree, DottedKey(key))
    return tree


def config_hash(config: RunConfig) -> str:
    """Return a fingerprint (SHA-256, hex) of what decides the learning, so that a resumption can be compared."""
    return sha256(json.dumps(_deciding(config), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def learning_changes(before: RunConfig, now: RunConfig) -> list[str]:
    """Return the keys that decide the learning and differ, each with both values; empty if the hashes are equal."""
    old, new = dict(leaves(_deciding(before))), dict(leaves(_deciding(now)))
    return [
        f"{key}: {shown(old.get(key))} is now {shown(new.get(key))}"
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key)
    ]
