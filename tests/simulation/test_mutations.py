"""The simulator is only worth what it catches."""

import re

import pytest

from simulation.device_mutations import MUTATIONS
from simulation.world import Broken, run_seed

MAX_SEEDS = 400


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_planted_defect_is_caught_by_its_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation = MUTATIONS[name]
    mutation.plant(monkeypatch)

    verdict = _first_verdict()

    assert re.search(mutation.caught_by, verdict), verdict or f"{MAX_SEEDS} seeds passed"


def _first_verdict() -> str:
    """What the first broken seed is blamed for; empty if none is."""
    for seed in range(MAX_SEEDS):
        try:
            run_seed(seed)
        except Broken as error:
            return str(error).splitlines()[0]
    return ""
