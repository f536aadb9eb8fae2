"""The watch's own account of the open evaluation round."""

from collections.abc import Sequence

from tetrad_learner.coordinator.core.effects import Acknowledge, Grant
from tetrad_wire.ids import Token


class EvaluationAccount:
    """Which leases evaluate, and which samples have come."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._round = -1
        self._samples: set[tuple[int, int]] = set()
        self.leases: dict[Token, int] = {}
        """Draw of each lease that evaluates."""

    @property
    def num_missing(self) -> int:
        """Samples of the round without a result."""
        return sum(self._sizes) - len(self._samples)

    def open(self, round_: int) -> None:
        """A round begins, or begins again."""
        self._round = round_
        self._samples.clear()

    def granted(self, grant: Grant) -> None:
        """An engine evaluates from now on."""
        assert grant.key.round == self._round, f"{grant} in round {self._round}"
        self.leases[grant.token] = grant.key.draw

    def over(self, token: Token) -> None:
        """It does not any more."""
        self.leases.pop(token, None)

    def accepted(self, answer: Acknowledge) -> None:
        """A sample counts; with the last of its group nobody works on that any more."""
        assert answer.key.round == self._round, f"{answer} in round {self._round}"
        draw = answer.key.draw
        assert (draw, answer.index) not in self._samples, f"{answer} counts twice"
        self._samples.add((draw, answer.index))
        if all((draw, index) in self._samples for index in range(self._sizes[draw])):
            self.leases = {token: other for token, other in self.leases.items() if other != draw}
