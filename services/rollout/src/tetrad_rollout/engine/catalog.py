"""The engines by their configuration name. Imports an engine's libraries only when that engine is wanted."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from tetrad_rollout.engine.core import BatchSettings
from tetrad_rollout.engine.errors import UnknownEngineError
from tetrad_rollout.engine.flat_weights import DigestFunction, manifest_digest
from tetrad_rollout.engine.protocol import Engine
from tetrad_rollout.engine.server_options import ServerOptions
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_runtime.garbage import settle

_FAKE_VOCABULARY = 64


class EngineName(StrEnum):
    """`generator.backend`."""

    SGLANG = "sglang"
    TRANSFORMERS = "transformers"
    FAKE = "fake"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine is made from."""

    model_path: Path
    """A Hugging Face folder; the fake reads nothing from it."""
    device: str = "cpu"
    dtype: str = "float32"
    num_threads: int = 1
    """Of a forward on a CPU; deterministic mode always takes 1."""
    batch: BatchSettings = field(default_factory=BatchSettings)
    digest: DigestFunction = manifest_digest
    """Over (flat buffer, layout); the manifest's algorithm."""
    server: ServerOptions = field(default_factory=ServerOptions)
    """For engines that are servers of their own."""


def create_engine(name: str, settings: EngineSettings) -> Engine:
    """The engine of that name, its model loaded; takes seconds, so call it off the event loop.

    Raises:
        UnknownEngineError: with the names there are, and the nearest.
    """
    engine = _factory(engine_name(name))(settings)
    settle()
    return engine


def engine_name(name: str) -> EngineName:
    """The closed-set name for what a user wrote.

    >>> engine_name("fake")
    <EngineName.FAKE: 'fake'>
    """
    if name in set(EngineName):
        return EngineName(name)
    near = difflib.get_close_matches(name, list(EngineName), n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise UnknownEngineError(f"no engine is called {name!r}; there are {', '.join(EngineName)}{hint}")


def _factory(name: EngineName) -> Callable[[EngineSettings], Engine]:
    match name:
        case EngineName.SGLANG:
            return _create_sglang
        case EngineName.TRANSFORMERS:
            return _create_transformers
        case EngineName.FAKE:
            return _create_fake
        case _:
            assert_never(name)


def _create_sglang(settings: EngineSettings) -> Engine:
    from tetrad_rollout.engine.sglang.starting import create

    return create(settings)


def _create_transformers(settings: EngineSettings) -> Engine:
    from tetrad_rollout.engine.tokenizer import load_decode
    from tetrad_rollout.engine.transformers import TransformersRunner, load_model

    model = load_model(settings.model_path, device=settings.device, dtype=settings.dtype)
    num_threads = 1 if settings.batch.is_deterministic else settings.num_threads
    return ThreadedEngine(
        TransformersRunner(model, num_threads=num_threads),
        name=EngineName.TRANSFORMERS,
        settings=settings.batch,
        decode=load_decode(settings.model_path),
        digest=settings.digest,
    )


def _create_fake(settings: EngineSettings) -> Engine:
    from tetrad_rollout.engine.fake import FakeRunner, random_table

    runner = FakeRunner(random_table(vocab_size=_FAKE_VOCABULARY, seed=0), eos_token_ids=(0,))
    return ThreadedEngine(
        runner,
        name=EngineName.FAKE,
        settings=settings.batch,
        decode=lambda ids: "".join(chr(ord("0") + token) for token in ids),
        digest=settings.digest,
    )
