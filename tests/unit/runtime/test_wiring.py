"""What a service may bind and connect to, and with which keys, is settled before it opens a socket."""

import pytest

from tetrad_config import RewardSettings
from tetrad_config.settings import load_settings
from tetrad_runtime.exits import ConfigFault, PeerLost
from tetrad_runtime.wiring import check_wiring, fault_of, open_transport
from tetrad_transport.keys import KeyRole
from tetrad_transport.keys.folder import KeyFolder
from tetrad_transport.membership import CoordinatorLostError, CoordinatorRefusedError


def some_settings(folder, **changes):
    given = {"RUN_DIR": folder, "COORDINATOR": f"ipc://{folder}/c", "BIND": f"ipc://{folder}/r", **changes}
    return load_settings(RewardSettings, [], {f"TETRAD_{name}": str(value) for name, value in given.items()})


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "10.1.2.3", "reward.example"])
def test_beyond_loopback_nothing_starts_without_keys(tmp_path, host):
    settings = some_settings(tmp_path, BIND=f"tcp://{host}:5555", ALLOW_CLEAR_TCP="1")

    with pytest.raises(ConfigFault, match=r"tcp://.*:5555.*without keys; make keys with `tetrad keys init`"):
        open_transport(settings, KeyRole.REWARD)


def test_with_keys_any_host_and_any_port_will_do(tmp_path):
    KeyFolder(tmp_path / "keys").init()
    settings = some_settings(
        tmp_path, BIND="tcp://0.0.0.0:*", COORDINATOR="tcp://learner.example:5555", KEYS=tmp_path / "keys"
    )

    check_wiring(settings, KeyRole.REWARD)


def test_a_run_on_one_host_needs_no_keys(tmp_path):
    check_wiring(some_settings(tmp_path), KeyRole.REWARD)


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    settings = some_settings(tmp_path, BIND="tcp://127.0.0.1:5555", COORDINATOR="tcp://10.0.0.1:1")

    with pytest.raises(ConfigFault) as caught:
        check_wiring(settings, KeyRole.REWARD)

    assert "clear TCP" in str(caught.value)
    assert "without keys" in str(caught.value)


def test_a_folder_without_keys_is_the_configurations_fault(tmp_path):
    with pytest.raises(ConfigFault, match=r"no private key for reward-0"):
        open_transport(some_settings(tmp_path, KEYS=tmp_path / "none"), KeyRole.REWARD)


def test_a_refusal_by_the_coordinator_is_the_configurations_fault_a_silence_is_the_peers():
    assert isinstance(fault_of(CoordinatorRefusedError("x")), ConfigFault)
    assert isinstance(fault_of(CoordinatorLostError("x")), PeerLost)
