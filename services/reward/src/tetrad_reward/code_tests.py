"""The tests of a programming task, read from the shapes that data sets have. Pure.

A row's ground truth is JSON: APPS and verl (`inputs`, `outputs`, `fn_name`), LiveCodeBench (a list of `input`,
`output`, `testtype`), MBPP (a list of asserts, or `test_list`), HumanEval (`test`, `entry_point`).
"""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tetrad_reward.ground_truth import require_ground_truth

SHAPES: Final = (
    '{"inputs": […], "outputs": […]}, {"test_list": [asserts]}, {"test": "def check…", "entry_point": "f"}, '
    '[{"input": …, "output": …, "testtype": "stdin"}] or a list of asserts'
)


@dataclass(frozen=True, slots=True)
class StdinTest:
    """The program reads `given` and must print `expected`."""

    given: str
    expected: str


@dataclass(frozen=True, slots=True)
class CallTest:
    """A function, or a method of `Solution`, is called; what it returns leaves the sandbox and is compared outside."""

    function: str
    arguments: tuple[object, ...]
    expected: object


@dataclass(frozen=True, slots=True)
class EqualTest:
    """`assert expression == literal`: the expression is evaluated inside, the literal never gets there."""

    expression: str
    expected: object


@dataclass(frozen=True, slots=True)
class AssertTest:
    """Statements that raise unless the program is right. They share the program's interpreter."""

    statements: str


CodeTest = StdinTest | CallTest | EqualTest | AssertTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a row asks of a program."""

    tests: tuple[CodeTest, ...]
    setup: str = ""
    """Runs before the program."""


def task_of(extras: Mapping[str, object]) -> Task:
    """Read the tests of a row; raises ValueError where there are none or their shape is unknown."""
    text = require_ground_truth(extras)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"reward_spec.ground_truth of a code row is JSON, such as {SHAPES}; it is {error}") from None
    task = _task(value, extras)
    if not task.tests:
        raise ValueError("reward_spec.ground_truth holds no test")
    return task


def _task(value: Any, extras: Mapping[str, object]) -> Task:
    match value:
        case {"inputs": list(inputs), "outputs": list(outputs)}:
            return Task(tests=tuple(_pairs(inputs, outputs, value.get("fn_name"))))
        case {"test": str(test), "entry_point": str(name)}:
            return Task(tests=(AssertTest(f"{test}\ncheck({name})"),), setup=_text(value.get("prompt")))
        case {"test_list": list(asserts)}:
            return Task(tests=_asserts(asserts), setup=_setup(value))
        case [str(), *_]:
            return Task(tests=_asserts(value), setup=_text(extras.get("test_setup_code")))
        case [{"input": _, "output": _}, *_]:
            return Task(tests=tuple(_live_code_bench(value, extras)))
        case _:
            raise ValueError(f"reward_spec.ground_truth has an unknown shape; known: {SHAPES}")


def _pairs(inputs: Sequence[Any], outputs: Sequence[Any], function: object) -> Iterator[CodeTest]:
    if len(inputs) != len(outputs):
        raise ValueError(f"reward_spec.ground_truth has {len(inputs)} inputs and {len(outputs)} outputs")
    for given, expected in zip(inputs, outputs, strict=True):
        if isinstance(function, str) and function:
            arguments = _json(given) if isinstance(given, str) else given
            yield CallTest(function, tuple(arguments), _json(expected) if isinstance(expected, str) else expected)
        else:
            yield StdinTest(_lines(given), _lines(expected))


def _live_code_bench(tests: Sequence[Mapping[str, Any]], extras: Mapping[str, object]) -> Iterator[CodeTest]:
    for test in tests:
        if test.get("testtype", "stdin") == "stdin":
            yield StdinTest(_lines(test["input"]), _lines(test["output"]))
            continue
        name = _function_name(test) or _function_name(extras)
        if not name:
            raise ValueError("a functional test needs the function's name: metadata.func_name, or fn_name")
        arguments = tuple(_json(line) for line in str(test["input"]).split("\n") if line.strip())
        yield CallTest(name, arguments, _json(str(test["output"])))


def _function_name(fields: Mapping[str, object]) -> str:
    metadata = fields.get("metadata")
    if isinstance(metadata, str):
        metadata = _json(metadata)
    named = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    return str(fields.get("fn_name") or named or "")


def _asserts(statements: Sequence[object]) -> tuple[CodeTest, ...]:
    return tuple(_assert_test(str(statement)) for statement in statements)


def _assert_test(statement: str) -> CodeTest:
    """Take `assert expression == literal` apart; leave anything else as it is.

    >>> _assert_test("assert add(1, 2) == 3")
    EqualTest(expression='add(1, 2)', expected=3)
    """
    try:
        body = ast.parse(statement.strip()).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"a test is no Python: {statement[:80]!r}: {error}") from None
    match body:
        case [ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]))]:
            try:
                return EqualTest(ast.unparse(left), ast.literal_eval(right))
            except ValueError:
                return AssertTest(statement)
        case _:
            return AssertTest(statement)


def _setup(value: Mapping[str, Any]) -> str:
    imports = value.get("test_imports") or []
    return "\n".join([*(str(line) for line in imports), _text(value.get("test_setup_code"))])


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _lines(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"an argument or result of a call test is no JSON: {text[:80]!r}: {error}") from None
