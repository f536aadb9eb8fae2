"""Settings of service processes: flags over variables over defaults, and every mistake named."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from tetrad_config import (
    BroadcasterSettings,
    ConfigError,
    CoordinatorSettings,
    RewardSettings,
    RolloutSettings,
    TrainerSettings,
    describe_settings,
    load_settings,
    secret,
    show_settings,
)
from tetrad_config.endpoint import MAX_IPC_PATH_BYTES
from tetrad_config.process import SERVICES

COORDINATOR = "ipc:///tmp/tetrad-0/ab12/coordinator"
ENVIRON = {"TETRAD_RUN_DIR": "outputs/demo", "TETRAD_COORDINATOR": COORDINATOR}


def problems_of(cls, argv, environ):
    with pytest.raises(ConfigError) as caught:
        load_settings(cls, argv, environ)
    return [str(problem) for problem in caught.value.problems]


def test_settings_come_from_the_environment():
    settings = load_settings(
        RolloutSettings, [], {**ENVIRON, "TETRAD_NAME": "rollout-3", "TETRAD_METRICS_PORT": "9100"}
    )

    assert (settings.name, settings.metrics_port) == ("rollout-3", 9100)
    assert settings.coordinator == COORDINATOR
    assert settings.run_config_path == Path("outputs/demo/config.yaml")


def test_flags_win_over_variables():
    settings = load_settings(
        RewardSettings,
        ["--bind", "tcp://127.0.0.1:5555", "--log-format=console", "--run_dir", "elsewhere"],
        {**ENVIRON, "TETRAD_LOG_FORMAT": "json"},
    )

    assert (settings.bind, settings.log_format) == ("tcp://127.0.0.1:5555", "console")
    assert settings.run_dir == Path("elsewhere")


def test_a_run_file_elsewhere_is_found():
    settings = load_settings(TrainerSettings, ["--run-config", "/etc/run.yaml"], ENVIRON)

    assert settings.run_config_path == Path("/etc/run.yaml")


def test_what_is_missing_names_variable_and_flag():
    assert problems_of(BroadcasterSettings, [], {}) == [
        "run_dir: is required; set TETRAD_RUN_DIR or --run-dir",
        "coordinator: is required; set TETRAD_COORDINATOR or --coordinator",
        "bind: is required; set TETRAD_BIND or --bind",
    ]


def test_all_mistakes_are_named_at_once():
    problems = problems_of(
        RolloutSettings,
        ["--metrics-prot", "--name", "Rollout", "extra"],
        {**ENVIRON, "TETRAD_METRICS_PORT": "70000", "TETRAD_LOG_LEVL": "info"},
    )

    assert problems[:3] == [
        "--metrics-prot: unknown argument; did you mean --metrics-port?",
        "extra: unknown argument",
        "TETRAD_LOG_LEVL: unknown variable; did you mean TETRAD_LOG_LEVEL?",
    ]
    assert problems[3].startswith("name: String should match pattern")
    assert problems[4].startswith("metrics_port: Input should be less than or equal to 65535; got '70000'")


def test_a_flag_without_value_says_so():
    assert "--name: needs a value" in problems_of(RolloutSettings, ["--name"], ENVIRON)


def test_variables_of_other_services_and_of_the_run_file_are_welcome():
    environ = {**ENVIRON, "TETRAD_BIND": "tcp://127.0.0.1:1", "TETRAD_TRAINER__EPOCHS": "3", "PATH": "/bin"}

    load_settings(RolloutSettings, [], environ)


@pytest.mark.parametrize(
    "endpoint", ["ipc:///tmp/x", "tcp://127.0.0.1:5555", "tcp://[::1]:5555", "tcp://learner.svc:*", "inproc://a"]
)
def test_endpoints_that_are_right(endpoint):
    settings = load_settings(CoordinatorSettings, ["--bind", endpoint], {"TETRAD_RUN_DIR": "r"})

    assert settings.bind == endpoint


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("127.0.0.1:5555", "an endpoint is ipc://PATH, tcp://HOST:PORT or inproc://NAME"),
        ("http://x:1", "an endpoint is ipc://PATH"),
        ("tcp://host", "a tcp endpoint is tcp://HOST:PORT with a port of at most 65535"),
        ("tcp://host:70000", "a tcp endpoint is tcp://HOST:PORT with a port of at most 65535"),
        ("ipc://", "an ipc path has 1 to 107 bytes, this one 0"),
        ("ipc://" + "x" * (MAX_IPC_PATH_BYTES + 1), "an ipc path has 1 to 107 bytes, this one 108; choose a shorter"),
    ],
)
def test_endpoints_that_are_wrong_say_why(endpoint, reason):
    (problem,) = problems_of(CoordinatorSettings, ["--bind", endpoint], {"TETRAD_RUN_DIR": "r"})

    assert problem.startswith(f"bind: {reason}")


def test_help_describes_every_flag():
    text = describe_settings(RewardSettings)

    assert "--run-dir VALUE   (TETRAD_RUN_DIR, required)" in text
    assert "--metrics-port VALUE   (TETRAD_METRICS_PORT, default 0)" in text
    assert "Endpoint on which rollouts reach this replica." in text


def test_settings_are_shown_as_yaml():
    text = show_settings(load_settings(RolloutSettings, [], ENVIRON))

    assert 'run_dir: "outputs/demo"' in text
    assert "metrics_port: 0" in text


def test_clear_tcp_is_off_unless_asked_for():
    asked = load_settings(RolloutSettings, [], {**ENVIRON, "TETRAD_ALLOW_CLEAR_TCP": "1"})

    assert asked.allow_clear_tcp
    assert not load_settings(RolloutSettings, [], ENVIRON).allow_clear_tcp
    with pytest.raises(ConfigError, match="ALLOW_CLEAR_TCP"):
        load_settings(RolloutSettings, [], {**ENVIRON, "TETRAD_ALLOW_CLEAR_TCP": "network"})


def test_a_secret_is_never_printed():
    token = secret("HF_TOKEN", {"HF_TOKEN": "hf_abc"})

    assert "hf_abc" not in f"{token} {token!r}"
    assert token.get_secret_value() == "hf_abc"
    assert secret("HF_TOKEN", {}) is None


@pytest.mark.parametrize("service", SERVICES)
def test_settings_are_real_settings_and_read_only_what_they_are_given(service, monkeypatch):
    monkeypatch.setenv("TETRAD_RUN_DIR", "behind/our/back")
    monkeypatch.setenv("TETRAD_LOG_LEVEL", "debug")
    given = {**ENVIRON, "TETRAD_BIND": COORDINATOR, "tetrad_log_level": "error"}

    settings = load_settings(service, [], given)

    assert issubclass(service, BaseSettings)
    assert (settings.run_dir, settings.log_level) == (Path("outputs/demo"), "info")
    with pytest.raises(ValidationError, match="frozen"):
        settings.name = "other"
