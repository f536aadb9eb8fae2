"""`tetrad keys`, and what `tetrad doctor` says of keys."""

import pytest

from tetrad_cli.commands.keys import ROLES, main
from tetrad_cli.doctor.finding import Verdict
from tetrad_cli.key_place import key_findings, key_folder
from tetrad_transport.keys import KeyRole
from tetrad_transport.keys.files import read_private


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.setenv("TETRAD_KEYS", str(tmp_path / "keys"))
    assert main(["init"]) == 0
    return tmp_path / "keys"


def test_its_roles_are_those_of_the_transport():
    assert set(ROLES) == {role.value for role in KeyRole}


def test_keys_are_made_listed_rotated_and_revoked_and_no_secret_is_shown(keys, capsys):
    for words in (["add", "rollout", "rollout-7"], ["rotate", "reward"], ["revoke", "rollout-7"], ["list"]):
        assert main(words) == 0

    text = capsys.readouterr().out
    rows = [line.split()[:4] for line in text.splitlines()]
    assert ["rollout-7", "rollout", "rollout-7", "revoked"] in rows
    assert ["reward", "reward", "*", "active"] in rows
    assert any(row[3:4] == ["former"] for row in rows)
    secrets = [read_private(path).secret_key for path in (keys / "private").iterdir()]
    assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["revoke", "nobody"], "there is no key 'nobody'"),
        (["revoke", "coordinator"], "tetrad keys rotate coordinator"),
        (["add", "rollout", "reward"], "there is a key 'reward' already"),
        (["add", "rollout", "Bad Name"], "use a-z, 0-9 and -"),
        (["add", "rollout", "x", "--replicas", "a b"], "use a-z, 0-9, -, and the wildcards"),
    ],
)
def test_what_cannot_be_is_refused(keys, capsys, words, why):
    assert main(words) == 78
    assert why in capsys.readouterr().err


def test_the_folder_is_as_given_or_as_the_variable_says_or_the_users():
    assert str(key_folder({"TETRAD_KEYS": "/b"}, given="/a")) == "/a"
    assert str(key_folder({"TETRAD_KEYS": "/b"})) == "/b"
    assert str(key_folder({"XDG_CONFIG_HOME": "/c"})) == "/c/tetrad/keys"
    assert str(key_folder({"HOME": "/d"})) == "/d/.config/tetrad/keys"


def test_doctor_names_a_private_file_that_others_may_read_and_the_fix(keys):
    environ = {"TETRAD_KEYS": str(keys)}
    assert [finding.verdict for finding in key_findings(environ)] == [Verdict.GOOD]

    (keys / "private" / "reward.key").chmod(0o644)

    (finding,) = key_findings(environ)
    assert finding.verdict is Verdict.BAD
    assert f"chmod 600 {keys}/private/reward.key" in finding.detail


def test_doctor_needs_no_keys_where_nobody_asked_for_them():
    assert [finding.verdict for finding in key_findings({})] == [Verdict.NOTE]
