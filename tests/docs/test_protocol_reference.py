"""The page on the wire protocol says what the code does."""

import subprocess
import sys
from pathlib import Path

from tetrad_wire.catalog import CLASSES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "protocol.md"


def test_the_protocol_reference_is_current():
    command = [sys.executable, str(ROOT / "tools" / "make_protocol_reference.py"), "--check"]

    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stderr


def test_the_protocol_reference_has_each_kind_and_field():
    page = PAGE.read_text(encoding="utf-8")

    for kind, cls in CLASSES.items():
        section = page.partition(f"\n#### {kind}\n")[2].partition("\n#### ")[0]
        assert section
        assert all(f"| `{name}` |" in section for name in cls.__struct_fields__), kind


def test_each_field_has_a_sentence():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]

    assert not [row for row in rows if row.endswith("|  |")]
