"""A new beginning clears what the run wrote, and nothing else."""

import pytest

from tetrad_cli.fresh_start import begin
from tetrad_config import dump_resolved, load
from tetrad_runtime.exits import ConfigFault


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints" / "global_step_3").mkdir(parents=True)
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "launcher.lock", "notes.txt"):
        (folder / name).touch()
    return folder


def a_config(run_dir, *overrides):
    return load(["+experiment=demo", f"trainer.run_dir={run_dir}", *overrides], environ={}).config


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_overwriting_clears_the_run_and_keeps_the_lock_and_what_is_the_user_s(run_dir):
    begin(a_config(run_dir), run_dir)

    assert names(run_dir) == ["launcher.lock", "notes.txt"]


def test_without_leave_to_overwrite_it_is_refused_and_untouched(run_dir):
    before = names(run_dir)

    with pytest.raises(ConfigFault, match=r"holds an earlier run: .*resume_mode=latest.*overwrite=true.*run_name"):
        begin(a_config(run_dir, "trainer.overwrite=false"), run_dir)

    assert names(run_dir) == before


def test_a_run_that_resumes_is_untouched(run_dir):
    before = names(run_dir)

    begin(a_config(run_dir, "trainer.overwrite=false", "trainer.resume_mode=latest"), run_dir)

    assert names(run_dir) == before


def test_checkpoints_elsewhere_are_never_removed_but_named(run_dir, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "global_step_7").mkdir(parents=True)

    with pytest.raises(ConfigFault, match="holds global_step_7; remove it"):
        begin(a_config(run_dir, f"trainer.ckpt_path={elsewhere}"), run_dir)

    assert (elsewhere / "global_step_7").exists()
    assert (run_dir / "ledger.sqlite").exists()


def test_an_empty_folder_is_fit_for_anything(tmp_path):
    begin(a_config(tmp_path, "trainer.overwrite=false"), tmp_path)


def test_checkpoints_under_another_name_in_the_run_s_folder_are_cleared_too(run_dir):
    ckpt_path = run_dir / "mine"
    (ckpt_path / "global_step_9").mkdir(parents=True)
    (ckpt_path / "latest").symlink_to("global_step_9")
    (ckpt_path / "of the user").touch()

    begin(a_config(run_dir, f"trainer.ckpt_path={ckpt_path}"), run_dir)

    assert names(ckpt_path) == ["of the user"]


@pytest.mark.parametrize("mode", ["none", "latest"])
def test_a_folder_that_no_run_wrote_is_refused_and_untouched(tmp_path, mode):
    (tmp_path / "logs").mkdir()
    (tmp_path / "config.yaml").write_text("mine: true")
    overwrite = f"trainer.overwrite={'true' if mode == 'none' else 'false'}"

    with pytest.raises(ConfigFault, match=r"holds logs, config.yaml, which no run of Tetrad wrote; choose another"):
        begin(a_config(tmp_path, f"trainer.resume_mode={mode}", overwrite), tmp_path)

    assert names(tmp_path) == ["config.yaml", "logs"]


def test_a_run_that_was_killed_before_its_ledger_is_still_known_by_its_config(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "config.yaml").write_text(dump_resolved(a_config(tmp_path)))

    begin(a_config(tmp_path), tmp_path)

    assert names(tmp_path) == []


def resumed(run_dir, *overrides):
    return a_config(run_dir, "trainer.overwrite=false", "trainer.resume_mode=latest", *overrides)


def test_going_on_says_from_where(run_dir):
    (run_dir / "checkpoints" / "global_step_3" / "MANIFEST.json").touch()
    (run_dir / "checkpoints" / "global_step_12").mkdir()
    (run_dir / "config.yaml").write_text(dump_resolved(a_config(run_dir)))

    said = begin(resumed(run_dir, "trainer.max_steps=200", "generator.num_inference_engines=2"), run_dir)

    assert "goes on: from the checkpoint of step 3" in said


def test_going_on_with_other_settings_is_refused_with_every_key(run_dir):
    (run_dir / "config.yaml").write_text(dump_resolved(a_config(run_dir)))

    with pytest.raises(ConfigFault) as caught:
        begin(resumed(run_dir, "trainer.seed=7", "trainer.policy.optimizer_config.lr=0.1"), run_dir)

    assert "  trainer.policy.optimizer_config.lr: 0.0003 is now 0.1\n  trainer.seed: 42 is now 7\n" in str(caught.value)
    assert "resume_mode=none trainer.overwrite=true" in str(caught.value)


def test_going_on_without_a_run_begins_one(tmp_path):
    assert begin(resumed(tmp_path), tmp_path) is None
