"""A run needs no network: in a namespace that has none but loopback, nothing is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMESPACE = ("unshare", "--map-root-user", "--net", "bash", "-c")
LOOPBACK = "ip link set lo up"
DEADLINE_S = 600.0


def is_permitted() -> bool:
    """Whether this machine lets us make a namespace, and bring its loopback up."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        return False
    made = subprocess.run([*NAMESPACE, LOOPBACK], capture_output=True, timeout=20, check=False)
    return made.returncode == 0


pytestmark = [
    pytest.mark.long,
    pytest.mark.live,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not is_permitted(), reason="unshare --net and ip are not here, or not permitted"),
]


def in_namespace(script: str, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    # Whoever sets these has asked for no network; a run must not have to.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TETRAD_"))}
    return subprocess.run(
        [*NAMESPACE, f"{LOOPBACK} && {script}", "offline", *words],
        cwd=folder,
        env={**environ, "XDG_RUNTIME_DIR": "", "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_a_demo_runs_where_there_is_no_network(tmp_path: Path) -> None:
    nothing = in_namespace("ip -o link | grep -v ': lo:'", tmp_path)
    assert nothing.stdout == "", "this namespace has a network"

    train = f"{sys.executable} -m tetrad_cli train +experiment=demo trainer.max_steps=2 trainer.eval_interval=2"
    done = in_namespace(train, tmp_path)

    assert done.returncode == 0, done.stdout
    assert (tmp_path / "outputs" / "demo" / "checkpoints" / "global_step_2" / "model.safetensors").is_file()
