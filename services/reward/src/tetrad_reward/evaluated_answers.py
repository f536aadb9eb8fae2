"""Which answers may reach those scorers of reasoning-gym that evaluate what they are given as Python.

Pure. Four of them call `eval`, five sympy's `parse_expr`, which is the same with sympy's names. What the model wrote
would run in the worker, with the user's rights: only what cannot name or call anything else is passed on.
"""

import re
from typing import Final

LITERALS: Final = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
"""Tasks whose answer is text or a list; their scorers call `eval`."""
FORMULAS: Final = frozenset(
    {"countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration"}
)
"""Tasks whose answer is a formula; their scorers call `parse_expr`."""
# `Integral` is in the answer of some rows: what sympy could not integrate itself.
FUNCTIONS: Final = frozenset(
    {
        *("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
        *("asinh", "acosh", "atanh", "exp", "log", "ln", "sqrt", "abs", "Abs", "pi", "Integral"),
    }
)
# Without brackets nothing is called, and without a point no attribute is looked up.
_LITERAL: Final = re.compile(r"[^().`\\{}=:@]*", re.ASCII)
_FORMULA: Final = re.compile(r"(?:[A-Za-z0-9+\-*/^()!,\s]|\.(?![\sA-Za-z]))*", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z]+")


def is_harmless(answer: str, *, task: str) -> bool:
    """Whether the scorer of a task may be given this answer.

    >>> is_harmless("[[0, 1], [1, 0]]", task="binary_matrix"), is_harmless("exit()", task="binary_matrix")
    (True, False)
    >>> is_harmless("3*x**2 + sin(x) + C", task="simple_integration"), is_harmless("open(x)", task="countdown")
    (True, False)
    """
    if task in LITERALS:
        return answer.isascii() and _LITERAL.fullmatch(answer) is not None
    if task in FORMULAS:
        words = _WORD.findall(answer)
        is_formula = _FORMULA.fullmatch(answer) is not None
        return is_formula and all(len(word) == 1 or word in FUNCTIONS for word in words)
    return True
