"""Options and overrides may be mixed, as in the tutorial."""

import argparse

import pytest

from tetrad_cli.run_options import ENDLESS_DEMO, add_monitoring, add_run_options, parse_run_options


def parsed(*argv):
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    return parse_run_options(parser, argv)[0]


def test_the_tutorial_s_command_line_is_understood():
    options = parsed(
        "+experiment=cpu", "--config-path", ".", "trainer.epochs=2", "--config-name", "my", "~a.b", "+c.d=1"
    )

    assert (options.config_path, options.config_name) == (".", "my")
    assert options.overrides == ("+experiment=cpu", "trainer.epochs=2", "~a.b", "+c.d=1")


def test_reward_is_short_for_the_implementation():
    assert parsed("--reward", "my.py:fn").overrides == ("reward.implementation=my.py:fn",)


def test_nothing_said_means_the_demo_without_an_end():
    assert parsed().or_endless_demo().overrides == ENDLESS_DEMO
    assert parsed("trainer.seed=1").or_endless_demo().overrides == ("trainer.seed=1",)


@pytest.mark.parametrize(
    ("words", "default", "is_on"),
    [((), True, True), ((), False, False), (("--no-monitoring",), True, False), (("--monitoring",), False, True)],
)
def test_monitoring_is_switched_on_and_off(words, default, is_on):
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    add_monitoring(parser, default=default)

    assert parse_run_options(parser, words)[1].monitoring is is_on
