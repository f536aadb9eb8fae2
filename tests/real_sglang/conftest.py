"""Tests against the real SGLang; they run in its own environment (`make test-sglang`) and are skipped elsewhere."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from tetrad_rollout.engine.sglang.server import Server

SGLANG = find_spec("sglang")
collect_ignore_glob = [] if SGLANG else ["test_*.py"]
if SGLANG is not None and SGLANG.origin is not None:
    # Each of SGLang's processes imports every model that it knows: most of the time that a start takes.
    models = {path.stem for path in (Path(SGLANG.origin).parent / "srt" / "models").glob("*.py")}
    os.environ.setdefault("SGLANG_DISABLED_MODEL_ARCHS", ",".join(sorted(models - {"llama"})))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama and its tokenizer."""
    from sglang_site.builders import model
    from unit.rollout.engine_builders import a_tokenizer

    path = tmp_path_factory.mktemp("llama")
    model(0).save_pretrained(path)
    a_tokenizer().save_pretrained(path)
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(folder: Path) -> AsyncIterator[Server]:
    """The one server of all tests; it takes half a minute to start."""
    from sglang_site.servers import start

    started = start(folder)
    yield started
    started.close()
