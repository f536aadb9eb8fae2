"""Between engines and coordinator: messages are lost, doubled, late and overtaken."""

import random
from collections.abc import Callable
from typing import Any

from simulation.agenda import Agenda
from simulation.plan import FAULTS_UNTIL_S, Faults

SLOW_S = 6.0


class Network:
    """Delivers by calling; what it calls decides whether anybody is there."""

    def __init__(self, agenda: Agenda, rng: random.Random, faults: Faults) -> None:
        self._agenda = agenda
        self._rng = rng
        self._faults = faults

    def send(self, deliver: Callable[..., None], *args: Any) -> None:
        """Deliver once, twice or never, after a while."""
        rng, faults = self._rng, self._faults
        is_calm = self._agenda.now > FAULTS_UNTIL_S
        if not is_calm and rng.random() < faults.drop:
            return
        self._agenda.after(self._delay(is_calm), deliver, *args)
        if not is_calm and rng.random() < faults.duplicate:
            self._agenda.after(self._delay(is_calm), deliver, *args)

    def _delay(self, is_calm: bool) -> float:
        rng = self._rng
        if not is_calm and rng.random() < self._faults.slow:
            return rng.uniform(0.0, SLOW_S)
        return rng.uniform(0.001, 0.03)
