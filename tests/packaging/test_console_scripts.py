"""Console scripts exist, and ask for help without loading a tensor library."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import pytest

SCRIPTS = ("tetrad", "tetrad-broadcaster", "tetrad-host", "tetrad-learner", "tetrad-reward", "tetrad-rollout")
HEAVY = ("torch", "transformers", "sglang", "pyarrow")
ASK_FOR_HELP = """
import sys
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name=sys.argv[1])
sys.argv = [sys.argv[1], "--help"]
try:
    code = script.load()()
except SystemExit as exit:
    code = exit.code
print("\\nLOADED", *(name for name in {heavy!r} if name in sys.modules))
sys.exit(code)
"""


def test_each_declared_script_is_installed(check_dependencies):
    declared = set()
    for one in check_dependencies.distributions(check_dependencies.ROOT):
        declared |= set(tomllib.loads((one.folder / "pyproject.toml").read_text())["project"].get("scripts", {}))

    assert declared == set(SCRIPTS)
    assert declared <= {script.name for script in entry_points(group="console_scripts")}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_comes_without_a_tensor_library(script):
    command = [sys.executable, "-c", ASK_FOR_HELP.format(heavy=HEAVY), script]

    asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    said, _, loaded = asked.stdout.rpartition("LOADED")
    assert asked.returncode == 0, asked.stderr
    assert script in said
    assert loaded.strip() == ""
