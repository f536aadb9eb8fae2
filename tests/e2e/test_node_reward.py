"""A real run is graded by a reward service in Node.js: swapped to, gone on with after a stop, and swapped from."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chaos.run_under_test import MakeRun, RunUnderTest
from e2e.test_reward_swap import LOAD, _journal, _sealed_by, _tetrad
from integration.node_site import environment, installed

from tetrad_cli.launch.runtime_dir import path_for

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(900)]

GRADER = "node-sum-1"


@contextmanager
def node_service(folder: Path, run: RunUnderTest) -> Iterator[str]:
    """The service, standing by beside a run; yields its endpoint."""
    endpoint = f"ipc://{folder}/node"
    coordinator = f"ipc://{path_for(run.run_dir, {})}/coordinator"
    env = environment(coordinator=coordinator, bind=endpoint)
    with (folder / "node.log").open("ab") as log:
        process = subprocess.Popen(["node", "service.mjs"], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield endpoint
    finally:
        process.kill()
        process.wait(10)


def test_a_run_is_swapped_to_a_service_in_node_js_and_back(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    folder = tmp_path / "node"
    folder.mkdir()
    installed(folder)
    run = make_run("trainer.max_steps=2000", "trainer.ckpt_interval=-1", *LOAD, grade_s=0.05).start()
    run.until(lambda: run.filled() > 0, "the first sample", timeout_s=240)

    # Nobody is there yet: the swap gives up, and the old one is untouched.
    missing = _tetrad(run, "reward", "swap", "--endpoint", f"ipc://{folder}/node", "--deadline", "2")
    assert missing.returncode == 1
    assert f"no reward service at ipc://{folder}/node was registered within 2 s" in missing.stderr

    with node_service(folder, run) as endpoint:
        swapped = _tetrad(run, "reward", "swap", "--endpoint", endpoint)
        assert swapped.returncode == 0, swapped.stderr
        run.until(lambda: _sealed_by(run, GRADER) > 0, "a step graded by the Node service")
        assert [one.name for one in run.instances() if one.role == "reward"] == []
        scaled = _tetrad(run, "scale", "reward=2")
        assert scaled.returncode == 1
        assert f"others keep the reward, at {endpoint}" in scaled.stderr
        assert _tetrad(run, "down").returncode == 0
        assert run.finish(timeout_s=300) == 0, run.last_words()

    # The run goes on with it, wherever it is started; and back.
    graded = _sealed_by(run, GRADER)
    run.overrides = (*run.overrides, "trainer.resume_mode=latest", "trainer.overwrite=false")
    run.start()
    run.until(lambda: bool(list(run.run_dir.glob("control.sock"))), "a launcher")
    with node_service(folder, run):
        run.until(lambda: _sealed_by(run, GRADER) > graded, "another step graded by the Node service", timeout_s=240)
        assert f"it comes from ipc://{folder}/node" in (run.folder / "train.log").read_text()
        back = _tetrad(run, "reward", "swap", "--env", "arithmetic")
        assert back.returncode == 0, back.stderr
        run.until(lambda: _sealed_by(run, "arithmetic") > 0, "a step graded by our own again")
    assert _tetrad(run, "down").returncode == 0
    assert run.finish(timeout_s=300) == 0, run.last_words()

    graders = _journal(run)
    assert all(len(set(versions)) == 1 for versions in graders.values()), "a mixed group"
    names = {versions[0].rpartition("-")[0] for versions in graders.values()}
    assert names == {"slow_reward.py:grade", "node-sum", "arithmetic"}
    run.check_nothing_is_left()
