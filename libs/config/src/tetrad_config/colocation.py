"""Colocation: which rollout replicas share their GPUs with the learner. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tetrad_config.run import RunConfig


def shares_gpus(config: RunConfig, replica: str) -> bool:
    """Whether a rollout replica, such as rollout-0, takes turns with the learner.

    Those that a run begins with do, one for each engine of the run file; any that is added by `scale` does not.
    """
    number = replica.rpartition("-")[2]
    if not config.trainer.placement.colocate_all or not number.isdigit():
        return False
    return int(number) < config.generator.num_inference_engines


def about_added(config: RunConfig, replicas: Sequence[str]) -> str:
    """What somebody should know who added these replicas; empty where there is nothing to say."""
    added = [name for name in replicas if not shares_gpus(config, name)]
    if not config.trainer.placement.colocate_all or not added:
        return ""
    return (
        f"{', '.join(added)}: not colocated (trainer.placement.colocate_all is about the first "
        f"{config.generator.num_inference_engines}); each needs a GPU of its own, and works only between training steps"
    )
