"""A ledger with a poisoned step is not gone on with, unless the step is skipped by hand."""

from pathlib import Path

import pytest

from tetrad_learner.coordinator.compose import check_poison
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.run_folder import RunFolder
from tetrad_learner.coordinator.store import Store
from tetrad_runtime.exits import ConfigFault
from tetrad_wire.ids import Draw


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Step 1 is executed, step 2 poisoned."""
    store = Store(tmp_path / "ledger.sqlite")
    for step in (1, 2):
        sealed = fa.StepSealed(step=step, lineage=1, draws=(step - 1,), journal_hash="h")
        store.commit([fa.GroupDrawn(draw=Draw(step - 1), size=3), sealed], [])
    store.commit([fa.StepExecuted(step=1, lineage=1), fa.StepMarkedPoisoned(step=2)], [])
    return store


def test_the_refusal_says_how_to_look_and_how_to_go_on(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigFault) as caught:
        check_poison(store, RunFolder(tmp_path), skip_step=None)

    assert f"tetrad replay --dump {tmp_path}/poisoned/step_2" in str(caught.value)
    assert "--skip-step 2" in str(caught.value)


def test_a_skipped_step_is_in_the_ledger_before_anything_starts(store: Store, tmp_path: Path) -> None:
    check_poison(store, RunFolder(tmp_path), skip_step=2)

    image = store.image()
    assert (image.skipped, image.poisoned) == ({2}, set())
    assert store.drops() == {"skipped": 3}


def test_a_learner_that_is_started_again_with_the_same_words_goes_on(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        check_poison(store, RunFolder(tmp_path), skip_step=2)

    assert store.drops() == {"skipped": 3}


def test_another_step_cannot_be_skipped(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="step 1 cannot be skipped: it is not poisoned; poisoned is 2"):
        check_poison(store, RunFolder(tmp_path), skip_step=1)
