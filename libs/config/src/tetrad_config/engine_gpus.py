"""Which GPUs each engine gets, and how many a run asks for. Pure: the visible ones are handed in."""

from __future__ import annotations

from collections.abc import Sequence

from tetrad_config.generator import Backend
from tetrad_config.run import RunConfig


def gpus_of_engines(config: RunConfig, visible: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The GPUs of every engine that there may be, in the order of replicas; empty where engines need none.

    Colocated, engines begin on the learner's first GPU; else behind its last one.
    """
    if config.generator.backend is not Backend.SGLANG or not visible:
        return ()
    placement, each = config.trainer.placement, config.generator.gpus_per_engine
    left = visible if placement.colocate_all else visible[placement.policy_num_gpus_per_node :]
    return tuple(tuple(left[start : start + each]) for start in range(0, len(left) - each + 1, each))


def num_gpus_asked(config: RunConfig) -> int:
    """GPUs of a host that ranks and engines need together."""
    ranks, generator = config.trainer.placement.policy_num_gpus_per_node, config.generator
    engines = generator.num_inference_engines * generator.gpus_per_engine
    return ranks if config.trainer.placement.colocate_all else ranks + engines


def about_gpus(config: RunConfig, num_visible: int) -> str:
    """How the visible GPUs are given away, and so how many engines there may be; empty where engines need none."""
    if config.generator.backend is not Backend.SGLANG or num_visible == 0:
        return ""
    placement, each = config.trainer.placement, config.generator.gpus_per_engine
    ranks = placement.policy_num_gpus_per_node
    how = "shares" if placement.colocate_all else "takes"
    engines = f"each engine needs {each}"
    return f"{num_visible} GPUs are visible, the learner {how} {ranks} of them, {engines}"
