"""Planted defects of dynamic sampling."""

import random
from dataclasses import replace
from typing import Any

import pytest

from simulation.mutations import MUTATIONS, planted
from tetrad_learner.coordinator.core import image, sampling
from tetrad_learner.coordinator.core.config import CoreConfig, Sampling
from tetrad_learner.coordinator.core.core import Core
from tetrad_learner.coordinator.core.drops import DropAccount
from tetrad_learner.coordinator.core.groups import Group
from tetrad_learner.coordinator.core.sampling import Batch
from tetrad_learner.coordinator.core.steps import StepBook
from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_wire.messages.leases import Lane

__all__ = ["MUTATIONS"]


@planted(caught_by="trains on flat groups")
def train_on_a_filtered_group(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sampling, "is_unwanted", lambda _group, _config: False)


@planted(caught_by="is filtered, but its rewards differ")
def filter_a_group_that_teaches(patch: pytest.MonkeyPatch) -> None:
    is_unwanted = sampling.is_unwanted

    def looks_at_the_ends(group: Group, config: CoreConfig) -> bool:
        ends = replace(group, slots=[group.slots[0], group.slots[-1]])
        return is_unwanted(group, config) or (group.is_complete and is_unwanted(ends, config))

    patch.setattr(sampling, "is_unwanted", looks_at_the_ends)


@planted(caught_by="is filtered before it is complete")
def filter_a_group_that_is_not_complete(patch: pytest.MonkeyPatch) -> None:
    def hasty(group: Group, config: CoreConfig) -> bool:
        return config.sampling is Sampling.FILTER and group.key.lane is Lane.TRAIN and group.is_flat

    patch.setattr(sampling, "is_unwanted", hasty)


@planted(caught_by="were filtered, the limit is")
def forget_the_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DropAccount, "excess", lambda *_arguments, **_more: "")


@planted(caught_by="failed after")
def end_a_run_within_the_bound(patch: pytest.MonkeyPatch) -> None:
    def hasty(self: CoreConfig) -> int:
        return (self.max_sample_batches - 2) * self.batch_size

    patch.setattr(CoreConfig, "max_filtered", property(hasty))


@planted(caught_by="differs from its facts: filtered")
def forget_what_was_filtered_in_a_restart(patch: pytest.MonkeyPatch) -> None:
    restore_work = image._restore_work

    def forgetful(core: Core, *arguments: Any) -> None:
        restore_work(core, *arguments)
        core.drops.num_filtered = 0

    patch.setattr(image, "_restore_work", forgetful)


@planted(caught_by="without faults")
def deal_other_copies_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Chance that belongs to the process, and not to what is durable."""
    init, batch_of = Core.__init__, sampling.batch_of
    dice = random.Random()

    def born(self: Core, *arguments: Any, **more: Any) -> None:
        dice.seed(more["epoch"])
        init(self, *arguments, **more)

    def dealt_by_chance(*arguments: Any) -> Batch | None:
        batch = batch_of(*arguments)
        if batch is None or not batch.multiplicities:
            return batch
        copies = list(batch.multiplicities)
        dice.shuffle(copies)
        return Batch(batch.groups, tuple(copies), batch.replaced)

    patch.setattr(Core, "__init__", born)
    patch.setattr(sampling, "batch_of", dealt_by_chance)


@planted(caught_by="is sealed to train")
def seal_without_the_copies(patch: pytest.MonkeyPatch) -> None:
    seal = StepBook.seal

    def forgetful(self: StepBook, draws: Any, multiplicities: tuple[int, ...], journal_hash: str) -> None:
        seal(self, draws, multiplicities[::-1], journal_hash)

    patch.setattr(StepBook, "seal", forgetful)


@planted(caught_by="places for groups, a batch has|have to do for all|which is not even")
def fill_too_few_places(patch: pytest.MonkeyPatch) -> None:
    dealt = sampling.dealt
    patch.setattr(sampling, "dealt", lambda num, *, num_places: dealt(num, num_places=num_places - 1))


@planted(caught_by="have to do for all")
def replace_however_few_are_good(patch: pytest.MonkeyPatch) -> None:
    batch_of = sampling.batch_of

    def content(groups: Any, config: Any) -> Batch | None:
        batch = batch_of(groups, config)
        good = [group for group in groups if not group.is_flat]
        if batch is None and good:
            flat = tuple(group for group in groups if group.is_flat)
            return Batch(tuple(good), sampling.dealt(len(good), num_places=len(groups)), flat)
        return batch

    patch.setattr(sampling, "batch_of", content)


@planted(caught_by="are replaced, sealed are steps")
def drop_the_replaced_before_the_seal(patch: pytest.MonkeyPatch) -> None:
    journal_next = Core._journal_next

    def hasty(self: Core, now: float) -> None:
        journal_next(self, now)
        batch, self._sealing = self._sealing, Batch(self._sealing.groups, self._sealing.multiplicities)
        self._drop(DropReason.REPLACED, "", *batch.replaced)

    patch.setattr(Core, "_journal_next", hasty)
