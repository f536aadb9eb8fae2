"""Prometheus reads the targets as file_sd."""

import json

from tetrad_cli.launch.targets import Target, write_targets


def test_role_and_replica_are_labels_of_the_target(tmp_path):
    path = tmp_path / "targets.json"
    write_targets(path, [Target(role="rollout", name="rollout-1", port=9)], run="demo")

    labels = {"run": "demo", "role": "rollout", "replica": "rollout-1"}
    assert json.loads(path.read_text()) == [{"targets": ["127.0.0.1:9"], "labels": labels}]
    assert [file.name for file in tmp_path.iterdir()] == ["targets.json"]
