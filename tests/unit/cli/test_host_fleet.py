"""Each process of a host that joins is told where it stands, under a name that no other host uses."""

from pathlib import Path

import pytest

from tetrad_cli.fleet import child_environment, fleet
from tetrad_cli.host_fleet import Joining, host_fleet
from tetrad_cli.launch.roles import OnExit
from tetrad_config import BroadcasterSettings, HostSettings, RewardSettings, RolloutSettings, load, load_settings
from tetrad_runtime.exits import ConfigFault

RUNTIME = Path("/tmp/tetrad-0/0123456789ab")
JOINING = Joining(name="host-1", coordinator="tcp://10.0.0.1:7000", address="10.0.0.2", rollouts=2, rewards=1)
SETTINGS = {
    "host": HostSettings,
    "relay": BroadcasterSettings,
    "reward": RewardSettings,
    "rollout": RolloutSettings,
}


def a_config(*overrides: str):
    return load(["+experiment=demo", "trainer.placement.policy_num_nodes=2", *overrides], environ={}).config


def roles_of(joining: Joining, config=None, **more):
    found = host_fleet(config or a_config(), joining, run_dir=Path("/runs/r"), runtime_dir=RUNTIME, num_cores=4, **more)
    return {role.name: role for role in found}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_understands_what_it_is_told(name):
    role = roles_of(JOINING)[name]
    environ = child_environment({"PATH": "/bin"}) | role.environment(0, port=4711)

    settings = load_settings(SETTINGS[name], [], environ)

    assert settings.coordinator == JOINING.coordinator
    assert settings.name in {"host-1", f"host-1-{role.instance_name(0)}"}


def test_engines_get_weights_from_the_relay_of_their_host():
    roles = roles_of(JOINING)

    relay = roles["relay"].environment(0, port=1)
    assert relay["TETRAD_BIND"] == roles["rollout"].environment(0, port=1)["TETRAD_RELAY"] == f"ipc://{RUNTIME}/relay"
    assert load_settings(BroadcasterSettings, [], relay).is_relay
    assert roles["relay"].stage < roles["rollout"].stage


def test_a_host_without_engines_has_no_relay_and_ends_with_its_ranks():
    roles = roles_of(Joining(name="host-1", coordinator="tcp://10.0.0.1:7000", address="10.0.0.2"))

    assert list(roles) == ["host"]
    assert roles["host"].on_exit is OnExit.ENDS_RUN


def test_more_engines_than_gpus_behind_the_ranks_are_refused_with_the_number_that_fits():
    config = load(
        ["+experiment=gsm8k-grpo", "trainer.placement.policy_num_nodes=2", "trainer.placement.colocate_all=false"],
        environ={"HOME": "/root"},
    ).config

    with pytest.raises(ConfigFault, match=r"--rollouts 2: 5 GPUs .* room for 1 engines"):
        roles_of(JOINING, config, gpus=("0", "1", "2", "3", "4"))


def test_a_head_that_listens_is_reached_at_its_address_by_everyone():
    roles = fleet(a_config(), run_dir=Path("/runs/r"), runtime_dir=RUNTIME, num_cores=4, bind="tcp://10.0.0.1:7000")
    told = {role.name: role.environment(0, port=1) for role in roles}

    assert {name: env["TETRAD_COORDINATOR"] for name, env in told.items()} == dict.fromkeys(told, "tcp://10.0.0.1:7000")
    assert told["learner"]["TETRAD_BIND"] == "tcp://10.0.0.1:7000"
    assert told["broadcaster"]["TETRAD_BIND"] == told["reward"]["TETRAD_BIND"] == "tcp://10.0.0.1:*"
