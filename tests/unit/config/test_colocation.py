"""Colocation: the replicas that a run begins with share GPUs, added ones do not."""

import pytest

from tetrad_config import load
from tetrad_config.colocation import about_added, shares_gpus


def a_run(*, is_colocated):
    overrides = [
        "+experiment=demo",
        "generator.num_inference_engines=2",
        "trainer.placement.policy_num_gpus_per_node=2",
    ]
    return load([*overrides, f"trainer.placement.colocate_all={str(is_colocated).lower()}"], environ={}).config


@pytest.mark.parametrize(("name", "is_shared"), [("rollout-0", True), ("rollout-1", True), ("rollout-2", False)])
def test_the_first_replicas_take_turns_with_the_learner(name, is_shared):
    assert shares_gpus(a_run(is_colocated=True), name) is is_shared
    assert not shares_gpus(a_run(is_colocated=False), name)


def test_a_replica_without_a_number_shares_nothing():
    assert not shares_gpus(a_run(is_colocated=True), "rollout")


def test_added_replicas_are_named_as_not_colocated():
    names = ["rollout-0", "rollout-1", "rollout-2", "rollout-3"]

    notice = about_added(a_run(is_colocated=True), names)

    assert notice.startswith("rollout-2, rollout-3: not colocated")
    assert about_added(a_run(is_colocated=True), names[:2]) == ""
    assert about_added(a_run(is_colocated=False), names) == ""
