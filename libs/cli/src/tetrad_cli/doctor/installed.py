"""Which versions of packages are installed, and which one of ours asks for. Imports none of them."""

import re
from importlib.metadata import PackageNotFoundError, requires, version


def version_of(name: str) -> str | None:
    """Return the version of an installed distribution; None where it is not here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def pinned_by(distribution: str, name: str) -> str | None:
    """Return the one version of `name` that a distribution of ours was built with; None where it names none."""
    try:
        requirements = requires(distribution) or []
    except PackageNotFoundError:
        return None
    matches = (re.match(rf"{re.escape(name)}\s*\(?==\s*([\w.]+)", requirement) for requirement in requirements)
    return next((match[1] for match in matches if match), None)
