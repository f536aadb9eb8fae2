"""Aliases: other spellings of keys, taken for the real ones and announced.

They are replaced in each source before sources are merged, so that `ckpt_path` in a file and `ckpt_dir` on the command
line are the same key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tetrad_config.errors import Problem
from tetrad_config.layer import Layer
from tetrad_config.section import DottedKey
from tetrad_config.tree import contains, lookup, placed, without

ALIASES: Final[Mapping[DottedKey, DottedKey]] = {
    DottedKey(alias): DottedKey(key)
    for alias, key in (
        ("trainer.ckpt_dir", "trainer.ckpt_path"),
        ("trainer.algorithm.lambda_", "trainer.algorithm.lambd"),
        ("trainer.algorithm.lambda", "trainer.algorithm.lambd"),
        ("trainer.max_training_steps", "trainer.max_steps"),
        ("trainer.remove_microbatch_padding", "trainer.use_sample_packing"),
        ("generator.inference_engine.backend", "generator.backend"),
        ("generator.inference_engine.num_engines", "generator.num_inference_engines"),
        ("generator.inference_engine.tensor_parallel_size", "generator.inference_engine_tensor_parallel_size"),
        ("generator.inference_engine.gpu_memory_utilization", "generator.gpu_memory_utilization"),
        ("generator.inference_engine.max_num_seqs", "generator.max_num_seqs"),
        ("generator.inference_engine.engine_init_kwargs", "generator.engine_init_kwargs"),
    )
}


def _emptied(layer: Layer, alias: DottedKey) -> Layer:
    tree = without(layer.tree, alias)
    section = DottedKey(alias.rpartition(".")[0])
    return replace(layer, tree=without(tree, section) if lookup(tree, section) == {} else tree)


def canonical(layer: Layer) -> tuple[Layer, list[str], list[Problem]]:
    """Replace aliases in one source; return the layer, what to announce and what contradicts itself."""
    notices: list[str] = []
    problems: list[Problem] = []
    for alias, key in ALIASES.items():
        if alias in layer.deleted:
            layer = replace(layer, deleted=tuple(key if k == alias else k for k in layer.deleted))
        if not contains(layer.tree, alias):
            continue
        value = lookup(layer.tree, alias)
        if contains(layer.tree, key) and lookup(layer.tree, key) != value:
            problems.append(Problem(key=alias, message=f"is an alias of {key}, and both are given ({layer.origin})"))
        layer = _emptied(layer, alias)
        layer = replace(layer, tree=placed(layer.tree, key, value))
        notices.append(f"{alias} is an alias of {key} ({layer.origin})")
    return layer, notices, problems
