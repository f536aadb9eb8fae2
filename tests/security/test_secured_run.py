"""A whole run over TCP under keys, whose keys are all replaced while it trains."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.run_under_test import RunUnderTest

from security.site import free_port
from tetrad_transport.keys import KeyRole
from tetrad_transport.keys.files import read_private
from tetrad_transport.keys.folder import KeyFolder

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    keys = KeyFolder(tmp_path / "keys")
    keys.init()
    return keys


@pytest.fixture
def run(tmp_path: Path, keys: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunUnderTest]:
    monkeypatch.setenv("TETRAD_KEYS", str(keys.path))
    monkeypatch.setenv("TETRAD_BIND", f"tcp://127.0.0.1:{free_port()}")
    run = RunUnderTest(tmp_path / "run", grade_s=0.5)
    yield run.start()
    run.stop()


def test_every_key_is_replaced_in_mid_run_and_nothing_is_lost(run: RunUnderTest, keys: KeyFolder) -> None:
    secrets = secrets_of(keys)
    run.until(lambda: run.filled() > 0, "the first sample", timeout_s=300)

    for role in KeyRole:
        keys.rotate(role)
    secrets |= secrets_of(keys)

    run.until(lambda: run.executed() > 1, "training goes on", timeout_s=300)
    assert {one.restarts for one in run.instances()} == {0}

    assert run.finish(timeout_s=400) == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    assert "tcp://127.0.0.1" in run.log("reward-0")
    # The coordinator has said where the broadcaster is, and its key.
    assert "link_tested" in run.log("rollout-0")
    written = [path for path in run.folder.rglob("*") if path.is_file()]
    assert len(secrets) == 2 * len(KeyRole)
    assert not [path for path in written if any(secret.encode() in path.read_bytes() for secret in secrets)]


def secrets_of(keys: KeyFolder) -> set[str]:
    return {read_private(keys.private_path(role)).secret_key for role in KeyRole}
