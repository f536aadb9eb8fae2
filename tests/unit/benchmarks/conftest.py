"""The benchmarks are programs beside each other, not a package."""

import sys
from pathlib import Path

# At the end: their plain names must not hide anything.
sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
