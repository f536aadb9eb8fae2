"""An evaluation beside an earlier run leaves every file of it as it is."""

import pytest

from tetrad_cli.aside import prepared_to_launch
from tetrad_cli.run_options import RunOptions
from tetrad_runtime.exits import ConfigFault


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run" / "journal").mkdir(parents=True)
    return tmp_path / "run"


def options_of(run_dir, *overrides):
    words = ("+experiment=demo", f"trainer.run_dir={run_dir}", *overrides)
    return RunOptions(config_path=None, config_name=None, overrides=words)


def test_evaluation_beside_an_earlier_run_is_moved_to_a_folder_that_is_removed(run_dir):
    with prepared_to_launch(options_of(run_dir, "trainer.epochs=0"), environ={}) as prepared:
        trainer = prepared.config.trainer

        assert prepared.run_dir.parent.is_dir()
        for folder in (prepared.run_dir, trainer.ckpt_path, trainer.export_path):
            assert not folder.resolve().is_relative_to(run_dir)

    assert not prepared.run_dir.parent.exists()


def test_training_is_never_moved(run_dir):
    with prepared_to_launch(options_of(run_dir), environ={}) as prepared:
        assert prepared.run_dir == run_dir


def test_evaluation_in_a_new_folder_stays_there(tmp_path):
    with prepared_to_launch(options_of(tmp_path / "new", "trainer.epochs=0"), environ={}) as prepared:
        assert prepared.run_dir == tmp_path / "new"


def test_answers_go_where_they_were_asked_for(run_dir, tmp_path):
    dump = ("trainer.dump_eval_results=true", f"trainer.export_path={tmp_path}/answers = all")

    with prepared_to_launch(options_of(run_dir, "trainer.epochs=0", *dump), environ={}) as prepared:
        assert prepared.config.trainer.export_path == tmp_path / "answers = all"


def test_answers_are_not_written_into_the_earlier_run(run_dir):
    options = options_of(run_dir, "trainer.epochs=0", "trainer.dump_eval_results=true")

    with pytest.raises(ConfigFault, match=r"holds an earlier run, .*set trainer\.export_path to a folder elsewhere"):
        prepared_to_launch(options, environ={}).__enter__()
