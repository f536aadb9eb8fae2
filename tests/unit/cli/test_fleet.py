"""Each process of a run is told where it stands, and nothing else."""

from pathlib import Path

import pytest

from tetrad_cli.fleet import child_environment, fleet
from tetrad_cli.launch.roles import OnExit
from tetrad_config import (
    BroadcasterSettings,
    CoordinatorSettings,
    RewardSettings,
    RolloutSettings,
    load,
    load_settings,
)

RUNTIME = Path("/tmp/tetrad-0/0123456789ab")
SETTINGS = {
    "learner": CoordinatorSettings,
    "broadcaster": BroadcasterSettings,
    "reward": RewardSettings,
    "rollout": RolloutSettings,
}


@pytest.fixture
def roles(tmp_path):
    overrides = [
        "+experiment=demo",
        "generator.num_inference_engines=2",
        "reward.num_replicas=3",
        "resources.threads_per_process=auto",
    ]
    config = load(overrides, environ={}).config
    return {role.name: role for role in fleet(config, run_dir=tmp_path, runtime_dir=RUNTIME, num_cores=6)}


def test_the_learner_starts_first_and_all_others_together(roles):
    assert {name: role.starts_with for name, role in roles.items()} == {
        "learner": 0,
        "broadcaster": 1,
        "reward": 1,
        "rollout": 1,
    }


def test_rollouts_stop_first_and_the_learner_last(roles):
    assert {name: role.stage for name, role in roles.items()} == {
        "learner": 0,
        "broadcaster": 1,
        "reward": 1,
        "rollout": 2,
    }


def test_replicas_are_those_of_the_run_file(roles):
    assert {name: role.replicas for name, role in roles.items()} == {
        "learner": 1,
        "broadcaster": 1,
        "reward": 3,
        "rollout": 2,
    }


def test_only_the_learner_s_end_is_the_run_s(roles):
    assert [name for name, role in roles.items() if role.on_exit is OnExit.ENDS_RUN] == ["learner"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_understands_what_it_is_told(roles, name, tmp_path):
    environ = child_environment({"PATH": "/bin"}) | roles[name].environment(0, port=4711)

    settings = load_settings(SETTINGS[name], [], environ)

    assert settings.run_dir == tmp_path
    assert settings.metrics_port == 4711
    assert settings.name == roles[name].instance_name(0)


def test_every_socket_has_a_name_of_its_own(roles):
    bound = [role.environment(index, port=1).get("TETRAD_BIND") for role in roles.values() for index in range(2)]

    assert roles["learner"].env["TETRAD_BIND"] == roles["rollout"].env["TETRAD_COORDINATOR"]
    assert f"ipc://{RUNTIME}/reward-1" in bound


def test_engines_know_the_way_to_the_broadcaster_before_they_load(roles):
    assert roles["rollout"].env["TETRAD_BROADCASTER"] == roles["broadcaster"].env["TETRAD_BIND"]


def test_threads_are_shared_among_those_that_compute(roles):
    threads = {name: role.env["OMP_NUM_THREADS"] for name, role in roles.items()}

    assert threads == {"learner": "3", "rollout": "3", "reward": "1", "broadcaster": "1"}


SGLANG = "generator.backend=sglang"
COLOCATED = "trainer.placement.colocate_all=true"


def rollouts(tmp_path, *overrides, gpus):
    config = load(overrides, environ={}).config
    return fleet(config, run_dir=tmp_path, runtime_dir=RUNTIME, num_cores=2, gpus=gpus)[-1]


@pytest.mark.parametrize(
    ("overrides", "gpus", "expected"),
    [
        ([COLOCATED], "3", ["3"]),
        ([], "35", ["5"]),
        (["generator.inference_engine_tensor_parallel_size=2"], "01234", ["1,2", "3,4"]),
        ([COLOCATED], "01", ["0", "1"]),
    ],
)
def test_every_replica_that_there_may_be_has_gpus_of_its_own(tmp_path, overrides, gpus, expected):
    role = rollouts(tmp_path, SGLANG, *overrides, gpus=tuple(gpus))

    given = [role.environment(index, port=1)["CUDA_VISIBLE_DEVICES"] for index in range(role.max_replicas)]
    assert given == expected
    # By its number a replica knows whether it shares its GPUs with the learner.
    assert role.instance_name(0) == "rollout-0"


def test_the_limit_of_replicas_says_how_many_gpus_there_are(tmp_path):
    role = rollouts(tmp_path, SGLANG, gpus=("0", "1", "2"))

    assert role.why_no_more == "3 GPUs are visible, the learner takes 1 of them, each engine needs 1"
    assert rollouts(tmp_path, gpus=("0", "1")).why_no_more == ""


def test_run_file_variables_do_not_reach_the_services_but_log_settings_do():
    environ = {
        "TETRAD_TRAINER__EPOCHS": "3",
        "TETRAD_LOG_LEVEL": "debug",
        "TETRAD_WEIGHT_TRANSPORT": "socket",
        "HOME": "/root",
    }

    child = child_environment(environ)

    assert "TETRAD_TRAINER__EPOCHS" not in child
    assert child["TETRAD_WEIGHT_TRANSPORT"] == "socket"
    assert (child["TETRAD_LOG_LEVEL"], child["TETRAD_LOG_FORMAT"], child["HOME"]) == ("debug", "console", "/root")
