"""Digests on a GPU equal those on the host; on a CPU Triton interprets the same kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sglang_site.builders import IS_ON_GPU

pytestmark = pytest.mark.sglang


def test_the_kernel_and_numpy_agree_on_every_size_and_on_ragged_tails() -> None:
    interpreted = {} if IS_ON_GPU else {"TRITON_INTERPRET": "1"}
    program = Path(__file__).parent / "digests_program.py"

    done = subprocess.run(
        [sys.executable, program],
        env=os.environ | interpreted,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
