"""One rank on this machine's first GPU; without one, nothing here runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from numerics.trainer_builders import a_model


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skipped = pytest.mark.skip(reason="needs a GPU; torch.cuda.is_available() is false")
    for item in items:
        if "gpu" in Path(str(item.fspath)).parts:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(skipped)


@pytest.fixture(scope="session")
def lone_gpu_rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = dist.FileStore(str(tmp_path_factory.mktemp("store") / "store"), 1)
    backends = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backends, store=store, rank=0, world_size=1, timeout=timedelta(seconds=120))
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="session")
def gpu_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model(tmp_path_factory.mktemp("models") / "qwen3", kind="qwen3")
