"""A way to load run files without the process's environment, and the tutorial's file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tetrad_config import ConfigError, LoadedConfig, load

DATA = Path(__file__).parent / "data"
ENVIRON = {"HOME": "/home/ada"}

Load = Callable[..., LoadedConfig]


@pytest.fixture
def load_run(tmp_path: Path) -> Load:
    """Load overrides, on top of `text` where a run file is given, in an environment of HOME and `variables`."""

    def load_it(*overrides: str, text: str | None = None, **variables: str) -> LoadedConfig:
        if text is not None:
            (tmp_path / "run.yaml").write_text(text)
        name = None if text is None else "run"
        return load(overrides, config_path=".", config_name=name, environ={**ENVIRON, **variables}, cwd=tmp_path)

    return load_it


@pytest.fixture
def load_tutorial() -> Load:
    """Load the tutorial's file, byte for byte, under overrides."""

    def load_it(*overrides: str, **variables: str) -> LoadedConfig:
        environ = {**ENVIRON, **variables}
        return load(overrides, config_path=DATA, config_name="my_training_config", environ=environ)

    return load_it


@pytest.fixture
def problems_of(load_run: Load) -> Callable[..., list[str]]:
    """Return the lines of the error that loading raises."""

    def problems(*overrides: str, text: str | None = None, **variables: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_run(*overrides, text=text, **variables)
        return [str(problem) for problem in caught.value.problems]

    return problems
