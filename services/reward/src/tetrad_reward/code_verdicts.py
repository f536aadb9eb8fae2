"""Runs one test of a programming task in the sandbox and compares what came out. Comparing is done outside."""

import ast
import json
import math
import secrets
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, assert_never

from tetrad_reward.code_tests import AssertTest, CallTest, CodeTest, EqualTest, StdinTest
from tetrad_reward.sandbox.limits import Limits
from tetrad_reward.sandbox.run import MAIN, End, Finished, run_program

HARNESS: Final = "/harness.py"
TEST: Final = "/test.json"
MARK: Final = "tetrad-value "
# Larger results are no answer of a test; literal_eval need not see them.
MAX_VALUE_CHARS: Final = 1 << 16
MAX_VALUE_DEPTH: Final = 32
# As APPS and LiveCodeBench forgive the last digits of a float; integers are exact.
RELATIVE_TOLERANCE: Final = 1e-6
ABSOLUTE_TOLERANCE: Final = 1e-9

# What the program prints is thrown away, so that only the harness can speak. It speaks last, so that a program
# that ends the process early has said nothing.
HARNESS_SOURCE: Final = f'''
import json, os, sys
voice = os.dup(1)
token = sys.stdin.readline().strip()
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 0), os.dup2(null, 1)
with open("{TEST}") as file:
    test = json.load(file)
with open("{MAIN}") as file:
    source = file.read()
names = {{"__name__": "solution"}}
exec(compile(source, "program.py", "exec"), names)
if "function" in test:
    call = names.get(test["function"])
    if call is None:
        call = getattr(names["Solution"](), test["function"])
    said = repr(call(*test["arguments"]))
elif "expression" in test:
    said = repr(eval(test["expression"], names))
else:
    exec(compile(test["statements"], "test.py", "exec"), names)
    said = token
sys.stdout.flush()
data = ("{MARK}" + said).encode()
while data:
    data = data[os.write(voice, data):]
'''


class Verdict(StrEnum):
    """What became of a test."""

    PASSED = "passed"
    WRONG = "wrong"
    """Another output or value, or a failed assert."""
    ERROR = "error"
    """An exception, a signal, or no end by itself."""
    OUT_OF_TIME = "out_of_time"
    OUT_OF_OUTPUT = "out_of_output"


def try_out(program: str, test: CodeTest, *, limits: Limits) -> tuple[Verdict, float]:
    """Run `program` against one test; return the verdict and the seconds. Raises SandboxError."""
    match test:
        case StdinTest(given, expected):
            finished = run_program(program, limits=limits, stdin=given)
            is_right = is_same_output(finished.output, expected)
        case CallTest(function, arguments, expected):
            finished = _in_harness(program, {"function": function, "arguments": arguments}, limits=limits)
            value = _value(finished)
            is_right = is_same_value(value, expected) or is_same_value([value], expected)
        case EqualTest(expression, expected):
            finished = _in_harness(program, {"expression": expression}, limits=limits)
            value = _value(finished)
            is_right = value == expected and isinstance(value, type(expected))
        case AssertTest(statements):
            token = secrets.token_hex()
            finished = _in_harness(program, {"statements": statements}, limits=limits, token=token)
            is_right = finished.output == MARK + token
        case _:
            assert_never(test)
    return _verdict(finished, is_right=is_right), finished.seconds


def is_same_output(output: str, expected: str) -> bool:
    r"""Compare line by line without surrounding spaces; numbers with a point as numbers.

    >>> is_same_output("1 \n2.50\n", "1\n2.5"), is_same_output("1", "1.0"), is_same_output("10", "11")
    (True, True, False)
    """
    left, right = ([line.split() for line in text.strip().split("\n")] for text in (output, expected))
    return len(left) == len(right) and all(
        len(ours) == len(theirs) and all(map(_is_same_word, ours, theirs))
        for ours, theirs in zip(left, right, strict=True)
    )


def is_same_value(value: object, expected: object) -> bool:
    """Compare what a call returned with JSON, which knows no tuples; floats to six digits.

    >>> is_same_value((1, [2.0000000001]), [1, [2.0]]), is_same_value(True, 1)
    (True, False)
    """
    if isinstance(value, list | tuple) and isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(map(is_same_value, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        named = {str(key): entry for key, entry in value.items()}
        return named.keys() == expected.keys() and all(is_same_value(named[key], expected[key]) for key in named)
    if isinstance(value, bool) != isinstance(expected, bool):
        return False
    if isinstance(value, float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return value == expected


def _is_same_word(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    if len(ours) > 64 or len(theirs) > 64:
        return False
    try:
        left, right = Decimal(ours), Decimal(theirs)
    except InvalidOperation:
        return False
    if not (left.is_finite() and right.is_finite()):
        return False
    if "." not in theirs and "e" not in theirs.lower():
        return left == right
    return math.isclose(left, right, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)


def _in_harness(program: str, test: dict[str, object], *, limits: Limits, token: str = "") -> Finished:
    files = {HARNESS: HARNESS_SOURCE, TEST: json.dumps(test)}
    return run_program(program, limits=limits, files=files, main=HARNESS, stdin=f"{token}\n")


def _value(finished: Finished) -> object:
    """Read the literal that the harness printed; what is none equals nothing."""
    text = finished.output.removeprefix(MARK)
    nothing = object()
    if text == finished.output or len(text) > MAX_VALUE_CHARS or _depth(text) > MAX_VALUE_DEPTH:
        return nothing
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return nothing


def _depth(text: str) -> int:
    """Return how deep brackets and signs nest at most, counting those inside of strings too."""
    depth = deepest = 0
    for character in text:
        if character in "([{-+~":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]},":
            depth -= 1
    return deepest


def _verdict(finished: Finished, *, is_right: bool) -> Verdict:
    match finished.end:
        case End.EXITED:
            return Verdict.PASSED if is_right else Verdict.WRONG
        case End.FAILED if "AssertionError" in finished.error:
            return Verdict.WRONG
        case End.FAILED | End.KILLED:
            return Verdict.ERROR
        case End.OUT_OF_TIME:
            return Verdict.OUT_OF_TIME
        case End.OUT_OF_OUTPUT:
            return Verdict.OUT_OF_OUTPUT
