"""Tests against the real SGLang; they run in its own environment (`make test-sglang`) and are skipped elsewhere."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("sglang") else ["test_*.py"]
