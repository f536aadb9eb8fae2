"""Each alert fires when it should and is quiet when it should be; what it says leads somewhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from programs import needs_program

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
CASES = Path(__file__).with_name("alerts.test.yml")
BRANCHES = Path(__file__).with_name("alert_branches.test.yml")
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
METRIC = re.compile(r"(?<![:\w])tetrad_\w+")

needs_promtool = needs_program("promtool", package="prometheus")


def rules(name: str) -> list[dict[str, object]]:
    groups = yaml.safe_load((PROMETHEUS / "rules" / f"{name}.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts")


def promtool(*words: str) -> None:
    checked = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_promtool
def test_prometheus_accepts_its_configuration():
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


@needs_promtool
def test_prometheus_accepts_the_configuration_for_containers(tmp_path):
    """It names its rules as they lie in the container: beside it."""
    shutil.copy2(ROOT / "deploy" / "compose" / "prometheus.yml", tmp_path)
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")

    promtool("check", "config", str(tmp_path / "prometheus.yml"))


@needs_promtool
def test_prometheus_accepts_the_rules():
    promtool("check", "rules", *map(str, sorted((PROMETHEUS / "rules").glob("*.yml"))))


@needs_promtool
def test_every_alert_fires_and_is_quiet_as_its_cases_say():
    promtool("test", "rules", str(CASES))


@needs_promtool
def test_every_branch_of_an_alert_fires_and_is_quiet_as_its_cases_say():
    promtool("test", "rules", str(BRANCHES))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_firing_and_a_quiet_case(alert):
    names = {case["name"] for case in yaml.safe_load(CASES.read_text())["tests"]}

    assert {f"{alert['alert']} fires", f"{alert['alert']} is quiet"} <= names


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(alert):
    said = alert["annotations"]
    page, _, section = said["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)

    assert said["summary"]
    assert said["description"]
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert section in {heading.lower() for heading in headings}


@pytest.mark.parametrize("rule", [*ALERTS, *rules("recording")], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_that_exist(rule):
    known = set(re.findall(r"^\| `(tetrad_\w+)` \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE))

    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(rule["expr"])}

    assert asked <= known
