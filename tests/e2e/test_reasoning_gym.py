"""The preset `reasoning-gym-cpu` as its comment says it: rows that are generated, a small model, three steps."""

import subprocess
import sys
from pathlib import Path

import pytest
from chaos.run_under_test import RunUnderTest
from tutorial.small_model import save_small_model

pytest.importorskip("reasoning_gym", reason="the extra 'reasoning-gym' is not installed")

from tetrad_trajectories.dataset import Dataset

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(600)]
NUM_STEPS, BATCH, GROUP_SIZE = 3, 8, 4


def test_the_preset_trains_on_rows_that_nobody_downloaded(tmp_path: Path) -> None:
    words = ("data", "reasoning-gym", "--task", "chain_sum", "--size", "24", "--output-dir", str(tmp_path / "rows"))
    subprocess.run([sys.executable, "-m", "tetrad_cli", *words], cwd=tmp_path, check=True, timeout=120)
    save_small_model(tmp_path / "model", layers=1)
    run = RunUnderTest(tmp_path)
    run.overrides = (
        "+experiment=reasoning-gym-cpu",
        f"data.train_data=[{tmp_path / 'rows' / 'train.parquet'}]",
        f"trainer.policy.model.path={tmp_path / 'model'}",
        "trainer.run_name=chaos",
        "trainer.logger=[]",
        "generator.sampling_params.max_generate_length=8",
    )
    try:
        assert run.start().finish(timeout_s=400) == 0, run.last_words()
        run.check_nothing_is_left()
    finally:
        run.stop()

    assert run.executed() == NUM_STEPS
    assert run.count("SELECT count(*) FROM slots WHERE state = 'sealed'") == NUM_STEPS * BATCH * GROUP_SIZE
    assert "grader=reasoning_gym" in run.log("reward-0")
    assert {Dataset.read([tmp_path / "rows" / "train.parquet"])[n].env_class for n in range(3)} == {"reasoning_gym"}
