"""Files of keys: who may read and write them, what they say, and what a process makes of a folder that changes."""

import os

import pytest

from tetrad_transport.keys import Keyring, KeyRole, KeysError
from tetrad_transport.keys.files import read_private, read_public
from tetrad_transport.keys.folder import KeyFolder


@pytest.fixture
def keys(tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    folder.init()
    return folder


def a_keyring(keys, role=KeyRole.ROLLOUT, name="rollout-0", **options):
    return Keyring(keys.path, role=role, name=name, **options)


def key_of(keys, name):
    return read_public(keys.public_path(name)).public_key


def test_init_makes_a_key_for_each_role_and_leaves_those_that_are_there(keys):
    before = [record.public_key for record, _state in keys.records()]

    assert {record.role for record, _state in keys.records()} == set(KeyRole)
    assert keys.init() == []
    assert [record.public_key for record, _state in keys.records()] == before


def test_private_files_are_for_their_owner_alone(keys):
    private = keys.path / "private"

    assert private.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in private.iterdir()} == {0o600}


def test_no_public_file_and_no_repr_shows_a_secret(keys):
    secrets = [read_private(keys.private_path(role)).secret_key for role in KeyRole]
    public = "".join(path.read_text() for path in (keys.path / "public").iterdir())
    shown = repr([read_private(keys.private_path(role)) for role in KeyRole]) + repr(a_keyring(keys).own)

    assert all(secrets)
    assert not any(secret in public + shown for secret in secrets)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_file_that_others_may_read_is_refused_with_the_fix(keys, mode):
    path = keys.private_path("rollout")
    path.chmod(mode)

    with pytest.raises(KeysError, match=f"has mode 0{mode:o}: others may read or write it; chmod 600 {path}"):
        a_keyring(keys)


def test_a_registry_that_others_may_write_is_refused_with_the_fix(keys):
    (keys.path / "public").chmod(0o775)

    with pytest.raises(KeysError, match=r"others may write it; chmod go-w .*public"):
        a_keyring(keys)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not say 'name'"),
        ("secret_key = [", r"is no file of a key \(TOMLDecodeError\)"),
        ('name = "rollout"\nrole = "king"\npublic_key = "x"', "'king' is not a valid KeyRole"),
        (
            'name = "rollout"\nrole = "rollout"\npublic_key = "x"',
            "public key of rollout: it needs 40 characters of Z85",
        ),
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(keys, text, why):
    keys.private_path("rollout").write_text(text)

    with pytest.raises(KeysError, match=why):
        a_keyring(keys)


def test_a_process_prefers_the_key_of_its_name_to_that_of_its_role(keys):
    keys.add(KeyRole.ROLLOUT, "rollout-7")

    assert a_keyring(keys, name="rollout-7").own.public_key == key_of(keys, "rollout-7")
    assert a_keyring(keys, name="rollout-8").own.public_key == key_of(keys, "rollout")


def test_a_process_without_its_key_is_told_what_to_do(keys):
    keys.private_path("reward").unlink()

    with pytest.raises(KeysError, match=r"no private key for reward-0.*tetrad keys init"):
        a_keyring(keys, role=KeyRole.REWARD, name="reward-0")


def test_a_key_of_another_role_is_refused(keys):
    keys.add(KeyRole.REWARD, "rollout-7")

    with pytest.raises(KeysError, match="is the key of a reward; rollout-7 is a rollout"):
        a_keyring(keys, name="rollout-7")


def test_a_revoked_key_stands_for_nothing_even_if_a_copy_of_its_file_is_left(keys):
    keys.add(KeyRole.ROLLOUT, "rollout-7")
    keyring, key = a_keyring(keys), key_of(keys, "rollout-7")
    copy = keys.public_path("rollout-7").read_text()
    assert keyring.find(key).key_name == "rollout-7"

    keys.revoke("rollout-7")
    keys.public_path("forgotten").write_text(copy)
    keyring.refresh()

    assert keyring.find(key) is None
    assert keyring.was_admitted(key)


def test_rotation_admits_the_former_key_for_its_grace_and_revocation_ends_both(keys):
    keyring, former = a_keyring(keys), key_of(keys, "rollout")

    keys.rotate("rollout", grace_s=60.0)
    changed = keyring.refresh()
    assert changed
    assert keyring.own.public_key == key_of(keys, "rollout") != former
    assert keyring.find(former).role is KeyRole.ROLLOUT

    latest = key_of(keys, "rollout")
    keys.revoke("rollout")
    keyring.refresh()
    assert keyring.find(former) is keyring.find(latest) is None


def test_a_former_key_is_over_after_its_grace(keys):
    keyring, former = a_keyring(keys), key_of(keys, "rollout")

    keys.rotate("rollout", grace_s=-1.0)
    keyring.refresh()

    assert keyring.find(former) is None
    assert keyring.was_admitted(former)


def test_the_coordinators_key_cannot_be_revoked_only_rotated(keys):
    with pytest.raises(KeysError, match="tetrad keys rotate coordinator"):
        keys.revoke("coordinator")


def test_a_broken_file_among_others_admits_nobody_and_stops_nobody(keys):
    problems = []
    keyring = a_keyring(keys, on_problem=problems.append)
    key = key_of(keys, "reward")

    keys.public_path("broken").write_text("?")
    keyring.refresh()

    assert keyring.find(key) is not None
    assert problems == [f"{keys.public_path('broken')} is no file of a key (TOMLDecodeError)"]


def test_a_registry_that_was_opened_to_others_admits_nobody_until_it_is_repaired(keys):
    problems = []
    keyring, key = a_keyring(keys, on_problem=problems.append), key_of(keys, "reward")
    (keys.path / "public").chmod(0o777)
    os.utime(keys.public_path("reward"))

    keyring.refresh()
    assert keyring.find(key) is None
    assert "others may write it" in problems[0]

    (keys.path / "public").chmod(0o755)
    os.utime(keys.public_path("reward"))
    keyring.refresh()
    assert keyring.find(key) is not None


def test_a_process_whose_private_file_is_gone_keeps_its_key(keys):
    keyring = a_keyring(keys)
    own = keyring.own
    keys.private_path("rollout").unlink()

    assert not keyring.refresh()
    assert keyring.own == own
