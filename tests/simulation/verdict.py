"""What must be true of a run that is over."""

from collections import Counter
from typing import TYPE_CHECKING

from tetrad_learner.coordinator.core.config import NO_LIMIT, Sampling
from tetrad_learner.coordinator.core.effects import ChangeRun
from tetrad_learner.coordinator.core.tables import SlotState, StepState
from tetrad_wire.messages.membership import RunState

if TYPE_CHECKING:
    from simulation.plan import Plan
    from simulation.world import World


def check_end(world: "World", ended: ChangeRun) -> None:
    """Raise Broken unless everything drawn has its fate and everything trained is in the last checkpoint."""
    world.expect(world.disk.image.state is ended.state, f"the ledger says {world.disk.image.state}, told was {ended}")
    if ended.state is RunState.FAILED:
        reason = ended.reason
        world.expect(any(is_due and words in reason for words, is_due in _excuses(world.plan)), f"failed: {reason}")
        return
    _check_steps(world)
    _check_fates(world)
    _check_rounds(world)


def _excuses(plan: "Plan") -> tuple[tuple[str, bool], ...]:
    """Reasons to fail, and whether the plan may lead to them."""
    faults = plan.faults
    is_choosy = plan.config.sampling is not Sampling.KEEP and plan.config.max_sample_batches != NO_LIMIT
    return (
        ("dynamic sampling", is_choosy),
        ("is poisoned", faults.poisoned_step > 0 and not faults.is_skipped),
        (
            "the ranks died",
            faults.rank_deaths + faults.rank_kills + faults.coordinator_crashes >= plan.config.max_step_attempts,
        ),
    )


def _check_steps(world: "World") -> None:
    image, config = world.disk.image, world.plan.config
    num_steps = len(image.steps)
    is_stopped = world.plan.faults.stop_at_s > 0
    world.expect(num_steps == config.num_steps or is_stopped, f"{num_steps} of {config.num_steps} steps are sealed")
    uncovered = [number for number, step in image.steps.items() if step.state is not StepState.COVERED]
    world.expect(not uncovered and image.covered == num_steps, f"steps {uncovered} are not covered")
    newest = world.disk.newest_checkpoint()
    history = newest.history if newest is not None else ()
    kept = sorted(image.steps.keys() - image.skipped)
    sealed = tuple((number, image.steps[number].draws) for number in kept)
    world.expect(history == sealed, f"the last checkpoint was trained on {history}, sealed were {sealed}")
    draws = Counter(draw for step in image.steps.values() for draw in step.draws)
    twice = [draw for draw, times in draws.items() if times > 1]
    world.expect(not twice, f"draws {twice} are in more than one step")


def _check_fates(world: "World") -> None:
    image, group_size = world.disk.image, world.plan.config.group_size
    kept = {number: step for number, step in image.steps.items() if number not in image.skipped}
    in_steps = {draw: number for number, step in kept.items() for draw in step.draws}
    fates: Counter[SlotState] = Counter()
    for draw, group in image.groups.items():
        states = [slot.state for slot in group.slots]
        fates.update(states)
        is_trained = draw in in_steps
        world.expect((SlotState.SEALED in states) == is_trained, f"draw {draw} is {states}, trained: {is_trained}")
        world.expect(bool(group.reason) != is_trained, f"draw {draw} was dropped for {group.reason!r} and trained")
        steps = {slot.step for slot in group.slots if slot.state is SlotState.SEALED}
        world.expect(steps <= {in_steps.get(draw)}, f"draw {draw} is in steps {steps}")
    drawn = image.cursor * group_size
    world.expect(sorted(image.groups) == list(range(image.cursor)), f"groups {sorted(image.groups)}")
    has_fate = fates[SlotState.SEALED] + fates[SlotState.DROPPED]
    world.expect(drawn == has_fate, f"{drawn} samples were drawn, {fates} have their fate")
    num_trained = sum(len(set(batch)) for step, batch in world.disk.journal.items() if step in kept)
    world.expect(fates[SlotState.SEALED] == num_trained, f"{fates} sealed, the journal has {num_trained}")


def _check_rounds(world: "World") -> None:
    plan, disk = world.plan, world.disk
    config, interval = plan.config, plan.config.evaluation_interval
    world.expect(len(set(disk.reports)) == len(disk.reports), f"evaluations are reported as {disk.reports}")
    world.expect(set(disk.reports) == disk.image.rounds, f"reported {disk.reports}, closed {disk.image.rounds}")
    if plan.faults.stop_at_s:
        return
    due = {step for step in range(1, config.num_steps + 1) if interval > 0 and step % interval == 0}
    due |= {0} if config.is_evaluated_first else set()
    due |= {config.num_steps} if config.is_evaluated_last else set()
    due = due if plan.evaluation_sizes else set()
    world.expect(disk.image.rounds == due, f"evaluations {disk.image.rounds} are closed, due were {due}")
