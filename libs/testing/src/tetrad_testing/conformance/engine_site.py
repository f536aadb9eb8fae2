"""Where an engine is tested: the four things that the suite must be told about an implementation.

The suite itself sees engines through their protocol only, so that one in another process may pass it as well.
Types of the rollout service are named here and imported by type checkers alone: a library imports no service.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pytest

if TYPE_CHECKING:
    from tetrad_rollout.engine.protocol import Engine, GeneratedSample, GenerationRequest, MemoryTag, Progress
    from tetrad_weights import Bytes
    from tetrad_wire.messages.weights import Manifest

DEADLINE_S: Final = 30.0
Ids = npt.NDArray[np.int32]
_ids = itertools.count()


class EngineSite(ABC):
    """One implementation, ready to be started."""

    logprob_tolerance: float = 1e-5
    """Largest difference from `reference`."""
    prompts: Sequence[Sequence[int]]
    """At least eight, of three different lengths or more."""
    eos_id: int
    """Ends a sample; never among the prompts' last tokens."""
    vocab_size: int
    """Ids are in [0, this)."""
    honours_seeds: bool = True
    """Whether equal seeds give equal samples. Where not, seeds say nothing and there is no deterministic mode."""
    what_survives: tuple[frozenset[MemoryTag], ...] = ()
    """Argument of `sleep` for what may be released without the weights being lost; nothing means all."""
    cache_policy_in_flight: str = "keep"
    """What a commit does to the KV of requests in flight."""
    weights_tags: frozenset[MemoryTag]
    """What `wake` takes back for the weights alone."""

    @abstractmethod
    def start(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> Engine:
        """An engine with the weights of seed 0."""

    @abstractmethod
    def weights(self, seed: int) -> tuple[Manifest, Bytes]:
        """Parameters of the same model from another seed, as a learner publishes them."""

    @abstractmethod
    def reference(self, seed: int, *, prompt: Ids, tokens: Ids, temperature: float) -> npt.NDArray[np.float32]:
        """Log-probs of `tokens` after `prompt` under the weights of `seed`, computed in another way."""

    @abstractmethod
    def request(self, **fields: Any) -> GenerationRequest:
        """A request: request_id, prompt (ids), seeds, and the fields of `Sampling`."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Ids as the engine's stop strings see them."""

    def most_prefilled(self, *, prompt: int, num_samples: int) -> int:
        """Prompt tokens that a group may compute at most."""
        del num_samples
        return prompt

    def needs_seeds(self) -> None:
        """Skip a test of what only an engine with seeds promises."""
        if not self.honours_seeds:
            pytest.skip("this engine does not honour seeds here, and says so")

    def a_request(self, prompt: int = 0, **fields: Any) -> GenerationRequest:
        """A request for one of the prompts; what is not said is an unremarkable default."""
        defaults = {
            "request_id": f"conformance-{next(_ids)}",
            "prompt": self.prompts[prompt],
            "seeds": (1, 2, 3, 4),
            "max_new_tokens": 12,
        }
        return self.request(**{**defaults, **fields})

    @asynccontextmanager
    async def engine(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> AsyncIterator[Engine]:
        """A started engine that is closed at the end."""
        engine = self.start(is_deterministic=is_deterministic, max_num_seqs=max_num_seqs)
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield engine
        finally:
            await engine.close()

    def check_logprobs(self, sample: GeneratedSample, request: GenerationRequest, *, seed: int = 0) -> None:
        """Fail unless a sample's log-probs are those of the weights of `seed`."""
        temperature = request.sampling.temperature
        expected = self.reference(seed, prompt=request.prompt_ids, tokens=sample.token_ids, temperature=temperature)
        np.testing.assert_allclose(sample.logprobs, expected, rtol=0.0, atol=self.logprob_tolerance)

    async def stage(self, engine: Engine, seed: int, *, version: int) -> str:
        """Stage the weights of `seed`, verified; their digest."""
        manifest, source = self.weights(seed)
        np.copyto(engine.begin_stage(manifest, version=_version(version)), source)
        await engine.verify_stage(digest=manifest.digest)
        return manifest.digest

    async def switch(self, engine: Engine, seed: int, *, version: int) -> str:
        """Stage, commit and prove the weights of `seed`; their digest."""
        digest = await self.stage(engine, seed, version=version)
        await engine.pause()
        await engine.commit(version=_version(version), digest=digest)
        await engine.probe()
        await engine.resume()
        return digest


class TokenGate:
    """Opens when a request has sampled some tokens; use as `on_progress`."""

    def __init__(self, num_tokens: int) -> None:
        self._num_tokens = num_tokens
        self._is_open = asyncio.Event()
        self.reports: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        """Take a report."""
        self.reports.append(progress)
        if progress.num_tokens >= self._num_tokens:
            self._is_open.set()

    async def wait(self) -> None:
        """Until it is open."""
        await self._is_open.wait()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until `holds()`, at most for the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 — engines announce their statistics to nobody
            await asyncio.sleep(0.002)


def _version(number: int) -> Any:
    """A PolicyVersion, which is an int at run time."""
    return number
