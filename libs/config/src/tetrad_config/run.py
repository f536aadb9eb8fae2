"""RunConfig: the whole run file as one frozen value.

Owns the derived defaults: what a key is when neither file nor command line sets it and it follows another key.
Knows no source of values: see `loader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import Field, JsonValue, model_validator

from tetrad_config.data import Data
from tetrad_config.environment import Environment, Reward
from tetrad_config.generator import Backend, Generator
from tetrad_config.resources import Journal, Resources
from tetrad_config.section import DottedKey, Section
from tetrad_config.trainer import Trainer
from tetrad_config.tree import Tree, lookup, placed, without

OUTPUTS: Final = "outputs"


def _below(folder: str) -> Callable[[JsonValue], JsonValue]:
    return lambda base: str(Path(base) / folder) if isinstance(base, str) else None


def _beneath_outputs(run_name: JsonValue) -> JsonValue:
    return str(Path(OUTPUTS) / run_name) if isinstance(run_name, str) else None


def _same(value: JsonValue) -> JsonValue:
    return value


# target ← source, in this order: later rows may read what earlier ones filled in.
DERIVED: Final[Mapping[DottedKey, tuple[DottedKey, Callable[[JsonValue], JsonValue]]]] = {
    DottedKey(target): (DottedKey(source), rule)
    for target, source, rule in (
        ("trainer.ref.model.path", "trainer.policy.model.path", _same),
        ("generator.model_name", "trainer.policy.model.path", _same),
        ("generator.max_input_length", "trainer.max_prompt_length", _same),
        ("generator.eval_sampling_params.max_generate_length", "generator.sampling_params.max_generate_length", _same),
        ("trainer.placement.ref_num_nodes", "trainer.placement.policy_num_nodes", _same),
        ("trainer.placement.ref_num_gpus_per_node", "trainer.placement.policy_num_gpus_per_node", _same),
        ("trainer.placement.critic_num_nodes", "trainer.placement.policy_num_nodes", _same),
        ("trainer.placement.critic_num_gpus_per_node", "trainer.placement.policy_num_gpus_per_node", _same),
        ("trainer.run_dir", "trainer.run_name", _beneath_outputs),
        ("trainer.ckpt_path", "trainer.run_dir", _below("checkpoints")),
        ("trainer.export_path", "trainer.run_dir", _below("exports")),
    )
}


def derive(tree: Tree) -> tuple[Tree, dict[DottedKey, DottedKey]]:
    """Fill keys that follow another key and are absent or null; return the tree and {filled key: its source}."""
    followed: dict[DottedKey, DottedKey] = {}
    for target, (source, rule) in DERIVED.items():
        if lookup(tree, target) is not None:
            continue
        value = lookup(tree, source)
        if value is None:
            # Both defaults agree already; a null must not hide the target's.
            tree = without(tree, target)
            continue
        tree = placed(tree, target, rule(value))
        followed[target] = source
    return tree, followed


class RunConfig(Section):
    """The whole run file."""

    data: Data = Field(default_factory=Data)
    """The files that prompts come from."""
    trainer: Trainer = Field(default_factory=Trainer)
    """The learner."""
    generator: Generator = Field(default_factory=Generator)
    """Engines, episodes, sampling."""
    environment: Environment = Field(default_factory=Environment)
    """What answers are scored against."""
    reward: Reward = Field(default_factory=Reward)
    """The reward service."""
    resources: Resources = Field(default_factory=Resources)
    """What processes may use of their host."""
    journal: Journal = Field(default_factory=Journal)
    """The batches of trained steps."""

    @model_validator(mode="before")
    @classmethod
    def _fill_derived(cls, tree: object) -> object:
        return derive(tree)[0] if isinstance(tree, dict) else tree

    @property
    def syncs_adapters_only(self) -> bool:
        """Whether engines keep the base and get adapters alone, instead of all weights with adapters merged."""
        has_adapters = self.trainer.policy.model.lora.rank > 0
        return has_adapters and self.generator.backend is Backend.SGLANG and self.generator.enable_lora is not False
