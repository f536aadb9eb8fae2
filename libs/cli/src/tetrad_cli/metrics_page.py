"""Reads single numbers from a metrics page. Pure."""

import re


def value(page: str, name: str, *, label: str = "") -> float | None:
    r"""Return the number of the first series with this name (a regular expression) that has the label.

    >>> value('a_total 1.0\na_workers{run="x",state="busy"} 2.0', "a_workers", label='state="busy"')
    2.0
    >>> value("a_total 1.0", "a")
    """
    labels = rf"\{{[^}}\n]*{re.escape(label)}[^}}\n]*\}}" if label else r"(?:\{[^}\n]*\})?"
    match = re.search(rf"^{name}{labels} (\S+)$", page, re.MULTILINE)
    return float(match[1]) if match is not None else None
