"""One gloo rank in this process, and tiny models on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from numerics.trainer_builders import a_model, one_gloo_rank


@pytest.fixture(scope="session")
def lone_rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of one, so that Trainer.create finds its rank."""
    with one_gloo_rank(tmp_path_factory.mktemp("store")):
        yield


@pytest.fixture(scope="session")
def tied_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model(tmp_path_factory.mktemp("models") / "tied", kind="tied")


@pytest.fixture(scope="session")
def untied_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model(tmp_path_factory.mktemp("models") / "untied", kind="untied")


@pytest.fixture(scope="session")
def reference_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another tied model."""
    return a_model(tmp_path_factory.mktemp("models") / "reference", seed=7)


@pytest.fixture(scope="session", params=["tied", "untied"])
def model(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(f"{request.param}_model")
    return folder
