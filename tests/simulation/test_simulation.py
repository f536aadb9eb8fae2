"""Thousands of runs, each with its own troubles, and none may break a rule."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.plan import Faults, Plan, plan_of
from simulation.world import World, run_seed
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.config import Sampling
from tetrad_learner.coordinator.core.tables import DropReason, LeaseState
from tetrad_wire.messages.leases import Disposition
from tetrad_wire.messages.membership import RunState

NUM_SEEDS = 2400
CHUNK = 100
MAX_FAILED_SHARE = 0.05
TESTS = Path(__file__).parents[1]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("first", range(0, NUM_SEEDS, CHUNK))
def test_no_fault_breaks_a_rule(first: int) -> None:
    states = Counter(run_seed(seed) for seed in range(first, first + CHUNK))

    assert states[RunState.FAILED] <= MAX_FAILED_SHARE * CHUNK, states


@pytest.mark.timeout(120)
def test_the_seeds_reach_every_fact_effect_and_reason() -> None:
    seen: set[object] = set()

    for seed in range(300):
        world = World(plan_of(seed))
        world.run()
        seen |= {type(fact).__name__ for fact in world.disk.facts}
        seen |= {fact.reason for fact in world.disk.facts if isinstance(fact, fa.GroupDropped)}
        seen |= {fact.state for fact in world.disk.facts if isinstance(fact, fa.LeaseOver | fa.RunChanged)}
        seen |= world.performed

    kinds = {kind.__name__ for kind in (*fa.Fact.__subclasses__(), *ef.Effect.__subclasses__())}
    wanted = {*kinds, *DropReason, *RunState, *Disposition, *LeaseState} - {LeaseState.HELD}
    assert wanted - seen == set()


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_without_faults_nothing_is_leased_twice_dropped_or_late(seed: int) -> None:
    plan = plan_of(seed).undisturbed()
    world = World(replace(plan, sample_s=1.0, config=replace(plan.config, sampling=Sampling.KEEP)))

    world.run()

    image = world.disk.image
    returned = LeaseState.RETURNED if world.plan.bad_every else LeaseState.DONE
    assert {lease.state for lease in image.leases.values()} <= {LeaseState.DONE, returned}
    assert {group.reason for group in image.groups.values()} <= {"", DropReason.GROUP_INCOMPLETE}
    assert image.lineage == 1
    assert world.agenda.now < 10 * world.plan.config.num_steps + 10


def test_a_seed_replays_exactly() -> None:
    def trace() -> str:
        world = World(plan_of(11), trace_length=100_000)
        world.run()
        return str(world.trace)

    assert trace() == trace()


@pytest.mark.slow
def test_a_seed_replays_exactly_in_another_process() -> None:
    def replay(hash_seed: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "simulation.replay", "7"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    assert replay("1") == replay("2")


def test_a_plan_without_faults_is_calm() -> None:
    plan: Plan = plan_of(3).undisturbed()

    assert plan.faults == Faults()
    assert plan.config == plan_of(3).config
