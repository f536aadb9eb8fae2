"""Programs that some tests need and a machine may lack: a reason to skip, or to fail where everything shall run."""

import os
import shutil

import pytest

REQUIRED = "REQUIRE_PROGRAMS"
"""Set where nothing may be skipped for want of a program."""


def needs_program(name: str, *, package: str) -> pytest.MarkDecorator:
    """Mark tests that need a program of the path."""
    return needs(name, package=package, is_there=shutil.which(name) is not None)


def needs(name: str, *, package: str, is_there: bool) -> pytest.MarkDecorator:
    """Mark tests that need a program; fails the module where it is missing and required."""
    reason = f"{name} is not installed: apt-get install {package}"
    if not is_there and os.environ.get(REQUIRED):
        pytest.fail(f"{reason} ({REQUIRED} is set)", pytrace=False)
    return pytest.mark.skipif(not is_there, reason=reason)
