"""Foreign functions: which ones a run names, and whether trainer ranks could use them.

Imports none of them here: that is done by a process of its own, as a rank would, so that a wrong one is known before
anything starts and this process stays without torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from tetrad_config.run import RunConfig

CHECKER: Final = "tetrad_algorithms.plugin_check"
IMPORT_TIMEOUT_S: Final = 120.0


def functions_of_others(config: RunConfig) -> dict[str, str]:
    """Return the functions that are not ours, as the run file names them, by key."""
    algorithm = config.trainer.algorithm
    names = {
        "trainer.algorithm.advantage_estimator": algorithm.advantage_estimator,
        "trainer.algorithm.policy_loss_type": algorithm.policy_loss_type,
        "trainer.algorithm.loss_reduction": algorithm.loss_reduction,
    }
    return {key: name for key, name in names.items() if not isinstance(name, StrEnum)}


def unusable(functions: Mapping[str, str]) -> dict[str, str]:
    """Import the functions in a process of its own and return what is wrong, by key.

    A host that could not run trainer ranks has nothing to check them with: nothing is found wrong there.
    """
    if not functions or find_spec(CHECKER.partition(".")[0]) is None:
        return {}
    # With -m the folder of the run is on the path, as it is for ranks.
    command = [sys.executable, "-m", CHECKER, *(f"{key}={name}" for key, name in functions.items())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return dict.fromkeys(functions, f"importing it takes more than {IMPORT_TIMEOUT_S:g} s")
    if done.returncode:
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        return dict.fromkeys(functions, f"importing it ended the process with code {done.returncode}: {said}")
    # Around it may be what the module prints.
    answer = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
    problems: dict[str, str] = json.loads(answer)
    return problems
