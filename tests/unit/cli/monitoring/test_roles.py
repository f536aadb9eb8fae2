"""What is started beside a run: on the loopback address, with its data in the run's folder, and never the run's end."""

import re
import shlex
import stat
from pathlib import Path

import pytest
import yaml

from tetrad_cli.monitoring.programs import BOARDS, COMPOSE, Programs, find_programs
from tetrad_cli.monitoring.roles import Monitoring, write_config

PROMETHEUS, GRAFANA = Path("/usr/bin/prometheus"), Path("/opt/grafana/bin/grafana")


def roles(run_dir, *, prometheus=PROMETHEUS, grafana=GRAFANA, is_on=True):
    programs = Programs(prometheus=prometheus, grafana=grafana)
    monitoring = Monitoring(run_dir=run_dir, programs=programs, is_on=is_on)
    return {role.name: role for role in monitoring.roles()}


def test_both_are_optional_and_start_first(tmp_path):
    for role in roles(tmp_path).values():
        assert role.is_optional
        assert not role.is_scraped
        assert role.stage == -1
        assert role.replicas == 1


def test_prometheus_serves_on_loopback_and_keeps_little(tmp_path):
    role = roles(tmp_path)["prometheus"]

    assert f"--web.listen-address=127.0.0.1:{role.port}" in role.argv
    assert f"--storage.tsdb.path={tmp_path / 'prometheus' / 'data'}" in role.argv
    assert "--storage.tsdb.retention.size=512MB" in role.argv


def test_grafana_reads_our_boards_with_that_prometheus(tmp_path):
    made = roles(tmp_path)
    env = made["grafana"].environment(0, port=made["grafana"].port)

    assert made["grafana"].argv[:2] == (str(GRAFANA), "server")
    assert env["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert env["PROMETHEUS_URL"] == f"http://127.0.0.1:{made['prometheus'].port}"
    assert Path(env["DASHBOARDS_PATH"]) == BOARDS.resolve()
    provisioned = (Path(env["GF_PATHS_PROVISIONING"]) / "datasources" / "tetrad.yaml").read_text()
    assert "${PROMETHEUS_URL}" in provisioned
    assert made["grafana"].port != made["prometheus"].port


def test_an_older_grafana_is_its_own_server(tmp_path):
    role = roles(tmp_path, grafana=Path("/usr/sbin/grafana-server"))["grafana"]

    assert "server" not in role.argv


def test_switched_off_it_waits_to_be_asked_for(tmp_path):
    assert [role.replicas for role in roles(tmp_path, is_on=False).values()] == [0, 0]


def test_what_is_not_installed_has_no_role_and_is_told_with_the_way_to_get_it(tmp_path):
    monitoring = Monitoring(run_dir=tmp_path, programs=Programs(prometheus=None, grafana=None), is_on=True)

    assert monitoring.roles() == []
    prometheus, grafana = monitoring.notices()
    assert "apt-get install prometheus" in prometheus
    assert f"docker compose -f {COMPOSE.resolve()} up -d" in grafana


def test_the_way_to_a_grafana_in_a_container_is_a_command_that_can_be_copied(tmp_path):
    monitoring = Monitoring(run_dir=tmp_path, programs=Programs(prometheus=PROMETHEUS, grafana=None), is_on=True)
    (role,) = monitoring.roles()
    (notice,) = monitoring.notices()

    words = shlex.split(notice.split("`")[1])

    assert words[0] == f"PROMETHEUS_URL=http://127.0.0.1:{role.port}"
    assert words[1:4] == ["docker", "compose", "-f"]
    told = yaml.safe_load(Path(words[4]).read_text())["services"]["grafana"]
    for volume in told["volumes"]:
        assert (Path(words[4]).parent / volume.partition(":")[0]).is_dir()
    assert "${PROMETHEUS_URL" in told["environment"]["PROMETHEUS_URL"]
    assert told["network_mode"] == "host"


def test_nothing_is_told_where_nobody_asked(tmp_path):
    monitoring = Monitoring(run_dir=tmp_path, programs=Programs(prometheus=None, grafana=None), is_on=False)

    assert monitoring.notices() == ()


def test_programs_are_found_on_the_search_path(tmp_path, monkeypatch):
    program = tmp_path / "grafana-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_programs() == Programs(prometheus=None, grafana=program)


def test_the_run_s_configuration_has_its_targets_and_our_rules(tmp_path):
    write_config(tmp_path)

    text = (tmp_path / "prometheus" / "prometheus.yml").read_text()
    (pattern,) = re.findall(r"- (\S+rules/\S+)", text)
    assert f"- {tmp_path / 'targets.json'}\n" in text
    assert sorted(path.name for path in Path(pattern).parent.glob("*.yml")) == ["alerts.yml", "recording.yml"]


@pytest.mark.parametrize("number", [-1, 2])
def test_there_is_one_or_none(tmp_path, number):
    role = roles(tmp_path)["prometheus"]

    assert not role.min_replicas <= number <= role.max_replicas
