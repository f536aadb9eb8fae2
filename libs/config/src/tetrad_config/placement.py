"""Placement: how many ranks there are and who shares their devices."""

from __future__ import annotations

from tetrad_config.section import Count, Section


class Placement(Section):
    """`trainer.placement`: processes and devices of the learner."""

    colocate_all: bool = False
    """Whether learner and engines share GPUs and take turns on them; needs as many ranks as GPUs of engines."""
    colocate_policy_ref: bool = True
    """Whether the reference model runs on the policy's ranks; it always does."""
    policy_num_nodes: Count = 1
    """Hosts of the learner."""
    policy_num_gpus_per_node: Count = 1
    """Ranks of the learner on each host: one per GPU, or on a machine without GPUs so many gloo processes."""
    critic_num_nodes: Count = 1
    """Hosts of the critic, whose ranks are the policy's; another number than the policy's is refused."""
    critic_num_gpus_per_node: Count = 1
    """Ranks of the critic on each host, which are the policy's; another number than the policy's is refused."""
    ref_num_nodes: Count = 1
    """Hosts of the reference model, whose ranks are the policy's; another number than the policy's is refused."""
    ref_num_gpus_per_node: Count = 1
    """Ranks of the reference on each host, which are the policy's; another number than the policy's is refused."""

    @property
    def num_ranks(self) -> int:
        """Ranks of the learner on all hosts."""
        return self.policy_num_gpus_per_node * self.policy_num_nodes
