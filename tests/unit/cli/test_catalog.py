"""Commands are found by name, and a missing one says where to get it."""

import pytest

from tetrad_cli import catalog
from tetrad_cli.catalog import BUILTINS, UnknownCommandError, load, summaries


class Point:
    """An entry point of a service that is installed."""

    def __init__(self, name):
        self.name = name

    def load(self):
        return lambda argv: 40 + len(argv)


@pytest.fixture
def services(monkeypatch):
    def install(*names):
        points = [Point(name) for name in names]
        found = lambda group, name=None: [one for one in points if name in (None, one.name)]  # noqa: E731
        monkeypatch.setattr(catalog, "entry_points", found)

    install()
    return install


@pytest.mark.parametrize("name", BUILTINS)
def test_every_builtin_can_be_loaded_and_has_help(name, capsys):
    try:
        code = load(name)(["--help"])
    except SystemExit as exit_:
        code = exit_.code

    assert code == 0
    assert f"tetrad {name}" in capsys.readouterr().out


def test_a_service_s_command_is_called_by_entry_point(services):
    services("grade")

    assert load("grade")(["a", "b"]) == 42


def test_a_command_of_a_service_that_is_not_installed_says_which(services):
    with pytest.raises(UnknownCommandError, match="pip install tetrad-reward"):
        load("grade")


def test_a_typo_is_answered_with_the_nearest_command(services):
    with pytest.raises(UnknownCommandError, match=r"no command 'stats'; did you mean status\?"):
        load("stats")


def test_the_list_says_what_is_not_installed_and_knows_strangers(services):
    services("grade", "conformance")

    shown = summaries()

    assert "pip install" not in shown["grade"]
    assert "pip install tetrad-learner" in shown["replay"]
    assert "conformance" in shown
