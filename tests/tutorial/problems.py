"""Word problems of GSM8K's form with few answers: who always says 5 is right in a third of them.

So a model that has learnt no more than the form has a score between 0 and 1 that training can raise.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tetrad_cli.data.gsm8k import INSTRUCTIONS, AnswerFormat

# What the tutorial's Part 6 sends along, and its data set script therefore writes.
SYSTEM_PROMPT: Final = "You are a helpful math tutor. Solve problems step by step."
NAMES, THINGS = ("Tom", "Janet", "Sam", "Weng"), ("marbles", "apples", "eggs", "pens")


@dataclass(frozen=True, slots=True)
class Problem:
    """Two small numbers and a story around them."""

    name: str
    thing: str
    x: int
    y: int

    @property
    def question(self) -> str:
        """As in the column `question`."""
        return f"{self.name} has {self.x} {self.thing}, then buys {self.y} more. How many {self.thing} now?"

    @property
    def answer(self) -> str:
        """As in the column `answer`."""
        return f"{self.x} + {self.y} = {self.x + self.y}\n#### {self.x + self.y}"

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt that the tutorial's script makes of it."""
        user = f"{self.question} {INSTRUCTIONS[AnswerFormat.HASH]}"
        return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": user}]


def problems(rng: random.Random, number: int) -> Iterator[Problem]:
    """Yield so many problems."""
    for _ in range(number):
        yield Problem(rng.choice(NAMES), rng.choice(THINGS), rng.randint(2, 4), rng.randint(1, 3))
