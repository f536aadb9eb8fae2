r"""Where a response to a mathematical problem has its answer, and which answers are too much to judge. Pure.

Every rule is linear in the length of the text. The limits are part of the rule, as they are the same everywhere: an
answer beyond them is none. What they let through and still takes for ever meets the grade's deadline.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tetrad_reward.extraction import last_boxed

# The answer stands at the end: a box is looked for in the last 16,000 tokens or so, what stands free in the last 250.
BOX_CHARS: Final = 1 << 16
TAIL_CHARS: Final = 1024
ANSWER_CHARS: Final = 256
MAX_ANSWER_CHARS: Final = 1024
MAX_DEPTH: Final = 24
MAX_DIGITS: Final = 128

_ANSWER_IS: Final = re.compile(r"answer\s{0,8}(?:is|:|=)[\s:*]{0,8}", re.IGNORECASE)
_HASH: Final = re.compile(r"####[ \t]*")
_DIGITS: Final = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")
_FACTORIAL: Final = re.compile(r"(?:[0-9]{4,}|[)}\]!])\s{0,4}!(?!=)")
_POWER: Final = re.compile(r"\^|\*\*")
_BARE_EXPONENT: Final = re.compile(r"\s{0,4}[({]?\s{0,4}-?[\w.]*\s{0,4}[)}]?")
_MANY_DIGITS: Final = re.compile(r"[0-9]{5,}")
_RAISED_NUMBER: Final = re.compile(r"[0-9)}]\s{0,4}(?:\^|\*\*)")


class Rule(StrEnum):
    """How the answer was found."""

    BOXED = "boxed"
    HASH = "hash"
    ANSWER_IS = "answer_is"
    TAIL = "tail"
    """Whatever math-verify finds in the end of the text."""


class Mode(StrEnum):
    """Where an answer counts."""

    BOXED = "boxed"
    r"""In the last closed `\boxed{}` only."""
    FLEXIBLE = "flexible"
    r"""There, else after `####`, else after "answer is", else what math-verify finds at the end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as text, and the rule that found it."""

    text: str
    rule: Rule


def find_answer(response: str, *, mode: Mode) -> Answer | None:
    r"""Return what a response answers; None where it does not, or not near its end.

    >>> find_answer(r"so $x = 2$, that is \boxed{\frac{4}{2}}.", mode=Mode.BOXED)
    Answer(text='\\frac{4}{2}', rule=<Rule.BOXED: 'boxed'>)
    """
    if (boxed := last_boxed(response[-BOX_CHARS:])) is not None:
        return Answer(boxed, Rule.BOXED)
    if mode is Mode.BOXED:
        return None
    tail = response[-TAIL_CHARS:]
    for pattern, rule in ((_HASH, Rule.HASH), (_ANSWER_IS, Rule.ANSWER_IS)):
        if (text := _after_last(pattern, tail)) is not None:
            return Answer(text, rule)
    return Answer(tail, Rule.TAIL) if tail.strip() else None


def too_much(text: str) -> str | None:
    """Say why an answer is not judged: too long, too deep, or a number that nobody can write down; None if it is.

    >>> too_much("9^{9^{9^9}}"), too_much("e^{-x^2}"), too_much("2^{10}")
    ('a power of a power', None, None)
    """
    if len(text) > MAX_ANSWER_CHARS:
        return f"more than {MAX_ANSWER_CHARS} characters"
    if _depth(text) > MAX_DEPTH:
        return f"brackets deeper than {MAX_DEPTH}"
    if _DIGITS.search(text):
        return f"a number of more than {MAX_DIGITS} digits"
    if _FACTORIAL.search(text):
        return "a factorial of something large"
    return _too_high(text)


def _too_high(text: str) -> str | None:
    for power in _POWER.finditer(text):
        exponent = _exponent(text, power.end())
        rest = text[power.end() + len(exponent) :].lstrip()
        if _RAISED_NUMBER.search(exponent) or _POWER.match(rest):
            return "a power of a power"
        if _MANY_DIGITS.search(exponent):
            return "an exponent of more than 4 digits"
        if "!" in exponent:
            return "a factorial in an exponent"
    return None


def _exponent(text: str, start: int) -> str:
    """Return the exponent that begins at `start`: a group in brackets, or one word."""
    begin = start + len(text[start:]) - len(text[start:].lstrip())
    if text[begin : begin + 1] not in {"{", "("}:
        found = _BARE_EXPONENT.match(text, start)
        return found.group() if found else ""
    depth = 0
    for place in range(begin, len(text)):
        depth += (text[place] in "{(") - (text[place] in "})")
        if depth == 0:
            return text[start : place + 1]
    return text[start:]


def _after_last(pattern: re.Pattern[str], text: str) -> str | None:
    ends = [found.end() for found in pattern.finditer(text)]
    if not ends:
        return None
    line = text[ends[-1] : ends[-1] + ANSWER_CHARS].split("\n", 1)[0].strip()
    return line.removesuffix(".").rstrip("* ") or None


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest
