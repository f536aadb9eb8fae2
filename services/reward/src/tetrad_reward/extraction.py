r"""Finds the final answer in a response and compares it with the ground truth.

Pure text in, values out; every rule is linear in the length of the response, since responses are hostile input.
Knows no environment and no reward: it says what was found, by which rule, or why nothing was.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """How tolerant the extraction is."""

    STRICT = "strict"
    """Exactly SkyRL's GSM8K rule: the first `#### N`, compared as a string."""
    BOXED = "boxed"
    r"""The last closed `\boxed{}`, compared as a number."""
    FLEXIBLE = "flexible"
    r"""`####`, else the last `\boxed{}`, else "answer is", else the last number; compared as a number."""


class Rule(StrEnum):
    """Which pattern found the value."""

    HASH = "hash"
    BOXED = "boxed"
    ANSWER_IS = "answer_is"
    LAST_NUMBER = "last_number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What a response answers; `value` is absent exactly when `reason` says why."""

    value: str | None = None
    rule: Rule | None = None
    reason: str = ""


# The pattern of skyrl_gym.envs.gsm8k.utils (there from the ReFT paper), byte for byte.
_SKYRL: Final = re.compile("#### (\\-?[0-9\\.\\,]+)")
# A minus belongs to the number it touches unless it follows a word or a bracket: "20-5" holds 20 and 5, "- 5" is
# an item of a list.
_NUMBER: Final = (
    r"(?:(?<![\w)\]}])-)?\$?"
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
)
_ANY_NUMBER: Final = re.compile(_NUMBER)
_HASH_NUMBER: Final = re.compile(rf"####[ \t*$(\[\\]*({_NUMBER})")
_ANSWER_NUMBER: Final = re.compile(rf"answer\s{{0,8}}(?:is|:|=)[\s:*$(\[\\]{{0,8}}({_NUMBER})", re.IGNORECASE)
_WHOLE_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_BOX: Final = "\\boxed"
_BOX_TOKEN: Final = re.compile(r"\\boxed\s{0,4}\{|\\[{}]|[{}]")
# LaTeX that decorates a number without changing it; a grouping comma in braces comes before the plain ones.
_DECORATION: Final = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s?\{|\{,\}|\\[,!;: $%]|[\s,$%{}]")
MINUS_SIGN: Final = "\N{MINUS SIGN}"
# No answer of a word problem is longer, and Decimal need not see a megabyte of digits.
MAX_NUMBER_CHARS: Final = 64


def extract(response: str, *, mode: Mode) -> Extraction:
    r"""Find the final answer of `response` under `mode`.

    >>> extract(r"3 + 2 = 5. The answer is \boxed{5}", mode=Mode.BOXED).value
    '5'
    """
    return _EXTRACTORS[mode](response)


def is_correct(extraction: Extraction, ground_truth: str, *, mode: Mode) -> bool:
    """Whether the extracted value equals the ground truth: as strings (strict) or as numbers (other modes)."""
    if extraction.value is None:
        return False
    if mode is Mode.STRICT:
        return extraction.value == ground_truth
    return is_same_number(extraction.value, ground_truth)


def is_same_number(value: str, ground_truth: str) -> bool:
    """Compare as Decimal after removing commas, `$`, `%`, spaces and a final dot; else as trimmed text.

    >>> is_same_number("$5,000.00", "5000"), is_same_number("five", "5")
    (True, False)
    """
    left, right = as_number(value), as_number(ground_truth)
    # A ground truth that is no number must never match by failing to parse on both sides.
    if right is None:
        return value.strip() == ground_truth.strip() != ""
    return left is not None and left == right


def as_number(text: str) -> Decimal | None:
    """Read a decorated decimal number; None if `text` is anything else."""
    plain = _undecorated(text)
    if len(plain) > MAX_NUMBER_CHARS or _WHOLE_NUMBER.fullmatch(plain) is None:
        return None
    return Decimal(plain)


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last closed `\boxed{...}`, outermost of nested ones, or None.

    >>> last_boxed(r"\boxed{1} then \boxed{\frac{1}{2}} and \boxed{unclosed")
    '\\frac{1}{2}'
    """
    if _BOX not in text:
        return None
    opened: list[int | None] = []
    content: tuple[int, int] | None = None
    for token in _BOX_TOKEN.finditer(text):
        match token.group():
            case "\\{" | "\\}":
                continue
            case "{":
                opened.append(None)
            case "}":
                start = opened.pop() if opened else None
                if start is not None:
                    content = (start, token.start())
            case _:
                opened.append(token.end())
    return None if content is None else text[slice(*content)]


def _strict(response: str) -> Extraction:
    found = _SKYRL.search(response)
    if found is None:
        return Extraction(reason="no '#### ' followed by a number")
    return Extraction(value=found.group(1).replace(",", "").replace("$", ""), rule=Rule.HASH)


def _boxed(response: str) -> Extraction:
    content = last_boxed(response)
    if content is None:
        return Extraction(reason="no closed \\boxed{}")
    value = _number_in(content)
    if value is None:
        return Extraction(reason=f"\\boxed{{}} holds no single number: {content[:40]!r}")
    return Extraction(value=value, rule=Rule.BOXED)


def _flexible(response: str) -> Extraction:
    text = _with_ascii_minus(response)
    if (value := _last(_HASH_NUMBER, text)) is not None:
        return Extraction(value=value, rule=Rule.HASH)
    # A response with a box has answered, even where the box holds no number: nothing is guessed around it.
    if last_boxed(text) is not None:
        return _boxed(text)
    if (value := _last(_ANSWER_NUMBER, text)) is not None:
        return Extraction(value=value, rule=Rule.ANSWER_IS)
    if (value := _last(_ANY_NUMBER, text)) is not None:
        return Extraction(value=value, rule=Rule.LAST_NUMBER)
    return Extraction(reason="no number in the response")


def _number_in(content: str) -> str | None:
    if as_number(content) is not None:
        return _undecorated(content)
    numbers = _ANY_NUMBER.findall(_undecorated(content))
    # What is still a command, such as \\frac, is a formula and no unit.
    return _bare(numbers[0]) if len(numbers) == 1 and "\\" not in _undecorated(content) else None


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    value: str | None = None
    for found in pattern.finditer(text):
        value = found.group(pattern.groups)
    return None if value is None else _bare(value)


def _bare(number: str) -> str:
    return re.sub(r"[\s,$]", "", number)


def _undecorated(text: str) -> str:
    return _DECORATION.sub("", _with_ascii_minus(text)).removesuffix(".")


def _with_ascii_minus(text: str) -> str:
    return text.replace(MINUS_SIGN, "-")


_EXTRACTORS: Final[Mapping[Mode, Callable[[str], Extraction]]] = {
    Mode.STRICT: _strict,
    Mode.BOXED: _boxed,
    Mode.FLEXIBLE: _flexible,
}
