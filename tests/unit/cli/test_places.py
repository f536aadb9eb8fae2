"""Where the processes of a run meet."""

from pathlib import Path

import pytest

from tetrad_cli.fleet import child_environment, fleet
from tetrad_cli.places import asked_bind, places
from tetrad_config import RunConfig
from tetrad_runtime.exits import ConfigFault


def test_unless_asked_a_run_stays_in_its_private_folder():
    assert asked_bind({}) is None
    assert places(Path("/run/x"), bind=None).reward == "ipc:///run/x/reward-{index}"


def test_a_run_on_the_network_has_one_known_port_and_takes_any_other():
    bind = asked_bind({"TETRAD_BIND": "tcp://10.0.0.5:5555", "TETRAD_KEYS": "/keys"})
    roles = {role.name: role for role in fleet(RunConfig(), run_dir=Path("/o"), runtime_dir=Path("/r"), bind=bind)}

    assert roles["learner"].env["TETRAD_BIND"] == "tcp://10.0.0.5:5555"
    assert {role.env["TETRAD_COORDINATOR"] for role in roles.values()} == {"tcp://10.0.0.5:5555"}
    assert {roles[name].env["TETRAD_BIND"] for name in ("reward", "broadcaster")} == {"tcp://10.0.0.5:*"}


def test_the_services_of_a_run_get_the_launchers_keys():
    assert child_environment({"TETRAD_KEYS": "/keys", "TETRAD_NAME": "x"})["TETRAD_KEYS"] == "/keys"


@pytest.mark.parametrize(
    ("bind", "keys", "why"),
    [
        ("tcp://10.0.0.5:5555", False, "without keys; make keys with `tetrad keys init`"),
        ("tcp://127.0.0.1:5555", False, "is clear TCP"),
        ("tcp://0.0.0.0:5555", True, "name one address of this host"),
        ("tcp://10.0.0.5", True, "needs a host and a port|use tcp://ADDRESS:PORT|name one address"),
        ("ipc:///tmp/x", True, "use tcp://ADDRESS:PORT, or leave it out"),
    ],
)
def test_a_place_that_will_not_do_is_refused_before_anything_starts(bind, keys, why):
    environ = {"TETRAD_BIND": bind, **({"TETRAD_KEYS": "/keys"} if keys else {})}

    with pytest.raises(ConfigFault, match=why):
        asked_bind(environ)
