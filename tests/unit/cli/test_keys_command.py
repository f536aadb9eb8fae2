"""`tetrad keys`, and what `tetrad doctor` says of keys."""

import json
from base64 import b64decode

import pytest

from tetrad_cli.commands.keys import ROLES, SHARES, main
from tetrad_cli.doctor.finding import Verdict
from tetrad_cli.key_place import key_findings, key_folder
from tetrad_transport.keys import KeyRole
from tetrad_transport.keys.files import read_private
from tetrad_transport.keys.folder import KeyFolder
from tetrad_transport.keys.shares import SHARES as SHARES_OF_TRANSPORT
from tetrad_transport.keys.shares import share_of


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


def test_a_share_is_what_a_service_needs_and_nothing_that_it_may_not_have_any_more(keys, tmp_path):
    main(["init"])
    main(["add", "rollout", "rollout-7"])
    main(["export", "--into", str(tmp_path / "out")])
    assert in_folder(tmp_path / "out" / "reward") == {
        *("private/reward.key", "public/coordinator.key", "public/rollout.key", "public/rollout-7.key")
    }

    main(["revoke", "rollout-7"])
    main(["export", "reward", "--into", str(tmp_path / "out")])

    (revoked,) = [path.name for path in (keys / "revoked").iterdir()]
    assert in_folder(tmp_path / "out" / "reward") == {
        *("private/reward.key", "public/coordinator.key", "public/rollout.key", f"revoked/{revoked}")
    }
    assert (tmp_path / "out" / "reward" / "private" / "reward.key").stat().st_mode & 0o777 == 0o600


def test_shares_are_those_of_the_table_and_never_the_coordinators_key_but_for_the_learner(keys):
    main(["init"])

    assert set(SHARES) == set(SHARES_OF_TRANSPORT)
    holders = [name for name in SHARES if "private/coordinator.key" in share_of(KeyFolder(keys), name)]
    assert holders == ["learner"]


def test_an_export_over_the_folder_of_all_keys_is_refused(keys, capsys):
    main(["init", "--folder", str(keys.parent / "reward")])

    assert main(["export", "reward", "--folder", str(keys.parent / "reward"), "--into", str(keys.parent)]) == 78
    assert "is the folder of all keys; name another one" in capsys.readouterr().err
    assert (keys.parent / "reward" / "private" / "coordinator.key").exists()


def test_secrets_of_kubernetes_hold_the_files_of_a_share(keys, capsys):
    main(["init"])
    capsys.readouterr()

    assert main(["export", "--k8s", "rollout"]) == 0

    (secret,) = json.loads(capsys.readouterr().out)["items"]
    assert secret["metadata"]["name"] == "tetrad-keys-rollout"
    assert {name: b64decode(text).decode() for name, text in secret["data"].items()} == {
        "private.rollout.key": (keys / "private" / "rollout.key").read_text(),
        "public.coordinator.key": (keys / "public" / "coordinator.key").read_text(),
    }


def in_folder(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*.key")}
