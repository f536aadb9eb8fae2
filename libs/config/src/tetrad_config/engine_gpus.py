"""Which GPUs each engine gets. Pure: the visible ones are handed in."""

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
