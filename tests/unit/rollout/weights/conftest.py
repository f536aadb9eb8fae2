"""A run of its own for each test, and the proof that it leaves nothing in shared memory."""

import secrets
from collections.abc import Iterator

import pytest

from tetrad_weights.segments import DIRECTORY, run_part


@pytest.fixture
def run() -> Iterator[str]:
    name = f"test-{secrets.token_hex(6)}"

    yield name

    left = sorted(path.name for path in DIRECTORY.glob(f"tetrad.{run_part(name)}.*"))
    for path in left:
        (DIRECTORY / path).unlink()
    assert left == []
