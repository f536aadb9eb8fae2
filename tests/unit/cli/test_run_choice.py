"""A command is about the run that is named, or the only one there is."""

import argparse

import pytest

from tetrad_cli.launch.claim import claim
from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "outputs" / name / "logs").mkdir(parents=True)
    return tmp_path / "outputs"


def choose(*argv, **options):
    parser = argparse.ArgumentParser()
    add_run_choice(parser)
    return chosen(parser.parse_args(argv), **options)


def test_the_only_run_that_is_up_is_meant(outputs):
    with claim(outputs / "b"):
        assert choose() == outputs / "b"


def test_none_up_says_how_to_start_one(outputs):
    with pytest.raises(NoRunError, match="start one with `tetrad up`"):
        choose()


def test_several_up_must_be_chosen_from(outputs):
    with claim(outputs / "a"), claim(outputs / "b"), pytest.raises(NoRunError, match="a, b; choose one with --run"):
        choose()


def test_a_named_run_must_be_up_where_it_is_asked(outputs):
    with pytest.raises(NoRunError, match="nothing is up in"):
        choose("--run", "a")
    with claim(outputs / "a"):
        assert choose("--run", "a") == outputs / "a"
        assert choose("--run-dir", str(outputs / "a")) == outputs / "a"


def test_logs_of_a_run_that_is_over_can_be_read(outputs):
    assert choose("--run", "a", is_live=False) == outputs / "a"
    assert choose(is_live=False) in (outputs / "a", outputs / "b")


def test_a_run_that_never_was_is_said_so(outputs):
    with pytest.raises(NoRunError, match="there is no run directory outputs/c"):
        choose("--run", "c")
