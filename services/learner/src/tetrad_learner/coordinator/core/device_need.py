"""What a run needs of the GPUs that learner and engines share, by the books of its core. Pure."""

from typing import TYPE_CHECKING

from tetrad_learner.coordinator.core.device_lease import Need

if TYPE_CHECKING:
    from tetrad_learner.coordinator.core.core import Core


def need_of(core: "Core") -> Need:
    """What there is to do now, and for whom."""
    steps, wanted = core.steps, core.versions.wanted
    is_published = core.is_giving_up or not core.needs_publish()
    is_saved = not core.needs_checkpoint()
    has_step = is_published and core.may_execute_next()
    is_newest = wanted is not None and (wanted.lineage, wanted.step) == (steps.lineage, steps.executed)
    digest = wanted.digest if wanted is not None and is_newest else ""
    certified = frozenset(engine.incarnation for engine in core.engines.certified(digest)) if digest else frozenset()
    # The broadcaster has lost what engines need, and none of them has it: the ranks must publish it again.
    is_seed_missed = core.versions.is_lost and not certified and bool(core.device.holders)
    has_ranks_work = not steps.are_ranks_ready or not is_published or has_step or is_seed_missed
    # A checkpoint that failed is made up for after the next step, where there is one.
    has_ranks_work |= not is_saved and core.is_at_last_step()
    return Need(
        # A round is finished first, while it can be: its deadline bounds it.
        has_ranks_work=has_ranks_work and not (core.rounds.is_open and core.is_round_alive()),
        has_training_work=has_step or (is_published and not is_saved),
        has_step=has_step,
        are_ranks_idle=steps.is_idle and core.versions.publishing is None,
        is_checkpoint_due=not is_saved,
        can_publish=bool(digest) or not is_published,
        is_seed_lost=core.versions.is_lost,
        digest=digest,
        certified=certified,
    )
