"""What dynamic sampling may do: judged by the rewards that engines sent, not by what the core makes of them."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.config import NO_LIMIT, Sampling
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_wire.messages.membership import RunState

if TYPE_CHECKING:
    from simulation.watch import Watch


def check_outcome(watch: "Watch", outcome: Outcome) -> None:
    """A batch is drawn anew as a whole and for a reason; what copies replace has its fate with the seal."""
    if not outcome.facts:
        return
    size, num_refused, num_good = watch.config.batch_size, len(watch.refused), sum(watch.refused.values())
    if num_refused and watch.config.sampling is Sampling.REPLACE:
        watch.expect(num_refused == size, f"{num_refused} of the {size} groups of a batch are filtered")
        is_poor = num_good < watch.config.min_replace_ratio * size
        watch.expect(is_poor, f"{list(watch.refused)} are filtered, of which {num_good} are good")
    watch.refused.clear()
    drops = [fact for fact in outcome.facts if isinstance(fact, fa.GroupDropped)]
    replaced = {fact.draw for fact in drops if fact.reason is DropReason.REPLACED}
    sealed = [fact for fact in outcome.facts if isinstance(fact, fa.StepSealed)]
    due = {draw for fact in sealed for draw in watch.replaced.get(fact.step, ())}
    watch.expect(replaced == due, f"draws {replaced} are replaced, sealed are steps with copies in place of {due}")


def check_drawn(watch: "Watch") -> None:
    """No group is drawn for a step that cannot be had within the bound any more."""
    config = watch.config
    if config.sampling is Sampling.KEEP:
        return
    num_filtered, limit = watch.image.num_filtered, (config.max_sample_batches - 1) * config.batch_size
    is_within = config.max_sample_batches == NO_LIMIT or num_filtered <= limit
    watch.expect(is_within, f"a group is drawn after {num_filtered} were filtered, the limit is {limit}")


def check_dropped(watch: "Watch", fact: fa.GroupDropped) -> None:
    """Only complete groups are judged, and only flat ones are refused for themselves."""
    if fact.reason not in (DropReason.FILTERED, DropReason.REPLACED):
        return
    sampling = watch.config.sampling
    watch.expect(sampling is not Sampling.KEEP, f"draw {fact.draw} is {fact.reason}, but every group is kept")
    watch.expect(watch.is_complete(fact.draw), f"draw {fact.draw} is {fact.reason} before it is complete")
    if fact.reason is DropReason.FILTERED:
        watch.refused[fact.draw] = not watch.is_flat(fact.draw)
    if fact.reason is DropReason.REPLACED or sampling is Sampling.FILTER:
        watch.expect(watch.is_flat(fact.draw), f"draw {fact.draw} is {fact.reason}, but its rewards differ")


def check_journal(watch: "Watch", journal: ef.Journal, complete: Sequence[int]) -> None:
    """A batch is the first complete groups; copies of the good ones take the places of the flat ones, evenly."""
    config = watch.config
    first = complete[: config.batch_size]
    flat = [draw for draw in first if watch.is_flat(draw)] if config.sampling is Sampling.REPLACE else []
    good = [draw for draw in first if draw not in flat]
    watch.expect(list(journal.draws) == good, f"step {journal.step} takes {journal.draws}, complete are {complete}")
    copies = journal.multiplicities
    watch.expect(bool(copies) == bool(flat), f"step {journal.step} trains {copies} times, flat are {flat}")
    if flat:
        share = len(good) / len(first)
        watch.expect(share >= config.min_replace_ratio, f"step {journal.step}: {share} of {first} have to do for all")
        is_even = max(copies) - min(copies) <= 1 and len(copies) == len(good)
        watch.expect(is_even, f"step {journal.step} trains {copies} times, which is not even")
    watch.copies[journal.step], watch.replaced[journal.step] = copies, frozenset(flat)


def check_sealed(watch: "Watch", fact: fa.StepSealed) -> None:
    """The places sum to a batch, as journaled; what is refused for flatness is not among them."""
    num_places = sum(fact.multiplicities or (1,) * len(fact.draws))
    size = watch.config.batch_size
    watch.expect(num_places == size, f"step {fact.step} has {num_places} places for groups, a batch has {size}")
    copies = watch.copies.get(fact.step)
    is_same = fact.multiplicities == copies
    watch.expect(is_same, f"step {fact.step} is sealed to train {fact.multiplicities} times, journaled were {copies}")
    if watch.config.sampling is not Sampling.KEEP:
        flat = [draw for draw in fact.draws if watch.is_flat(draw)]
        watch.expect(not flat, f"step {fact.step} trains on flat groups {flat}")


def check_run(watch: "Watch", fact: fa.RunChanged) -> None:
    """The bound ends no run that has not exceeded it."""
    if fact.state is RunState.FAILED and "dynamic sampling" in fact.reason:
        config, num_filtered = watch.config, watch.image.num_filtered
        limit = (config.max_sample_batches - 1) * config.batch_size
        is_exceeded = num_filtered > limit and str(num_filtered) in fact.reason
        watch.expect(is_exceeded, f"failed after {num_filtered} of {limit} groups: {fact.reason}")


def check_execute(watch: "Watch", step: int) -> None:
    """Ranks train on each group as often as the ledger says."""
    image, batch = watch.world.disk.image.steps[step], watch.world.disk.journal[step]
    firsts = {draw: index for draw, index, _digest in reversed(batch)}
    found = Counter(draw for draw, index, _digest in batch if firsts[draw] == index)
    wanted = dict(zip(image.draws, image.multiplicities or (1,) * len(image.draws), strict=True))
    watch.expect(found == wanted, f"step {step}: the journal trains {dict(found)} times, the ledger says {wanted}")
