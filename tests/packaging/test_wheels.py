"""Each wheel has everything that its sources have, not only the Python files."""

import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("packaging")]
# What must be there, whatever else is.
EXPECTED = {
    "tetrad-cli": {
        "tetrad_cli/monitoring/prometheus/prometheus.yml",
        "tetrad_cli/monitoring/prometheus/rules/alerts.yml",
        "tetrad_cli/monitoring/grafana/compose.yaml",
        "tetrad_cli/monitoring/grafana/dashboards/overview.json",
        "tetrad_cli/monitoring/grafana/provisioning/datasources/tetrad.yaml",
    },
    "tetrad-learner": {"tetrad_learner/coordinator/schema.sql"},
    "tetrad-config": {
        "tetrad_config/presets/ppo_base_config.yaml",
        "tetrad_config/presets/experiment/cpu.yaml",
        "tetrad_config/presets/experiment/demo.yaml",
        "tetrad_config/assets/demo/train.jsonl",
        "tetrad_config/assets/demo/warm_start/model.safetensors",
        "tetrad_config/assets/demo/warm_start/tokenizer.json",
    },
}


def names_in(wheels: Path, distribution: str) -> set[str]:
    (wheel,) = wheels.glob(f"{distribution.replace('-', '_')}-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_a_wheel_holds_every_file_of_its_sources(wheels, check_dependencies):
    for one in check_dependencies.distributions(check_dependencies.ROOT):
        files = [path for path in (one.folder / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        sources = {path.relative_to(one.folder / "src").as_posix() for path in files}

        missing = sources - names_in(wheels, one.name)

        assert not missing, f"{one.name} leaves out {sorted(missing)}"


def test_a_wheel_holds_its_data_and_says_that_it_is_typed(wheels, check_dependencies):
    for one in check_dependencies.distributions(check_dependencies.ROOT):
        expected = EXPECTED.get(one.name, set()) | {f"{package}/py.typed" for package in one.packages}

        assert expected <= names_in(wheels, one.name), one.name
