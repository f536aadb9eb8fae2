"""One sample's course through SGLang: submitted, cut by a pause, resubmitted, ended.

A cut ends the request in the server and keeps its tokens; what was sampled so far goes back as its prompt. So a
span ends exactly at a token, and after a commit no key or value of older weights is read. Owns no gate, no queue.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tetrad_rollout.engine.errors import ForwardFailedError
from tetrad_rollout.engine.protocol import FinishReason, Sampling
from tetrad_rollout.engine.rows import Row
from tetrad_rollout.engine.sglang.server import Chunk, Server
from tetrad_wire.ids import PolicyVersion

# SGLang aborts by the beginning of an id, so that no id may begin with another: all have one length.
_numbers = itertools.count()
_SEED_MASK: Final = (1 << 63) - 1
_STOP_INTERVAL: Final = 1
"""Tokens between two looks at a sample that has stop strings."""


@dataclass(eq=False, slots=True)
class Course:
    """A row, and its request in the server while there is one."""

    row: Row
    rid: str = ""
    """Empty while nothing is in the server."""
    prompt_tokens: int = 0
    """Prefilled for it, without what was cached."""
    is_stopped: bool = False
    """A stop string is met; what the server samples beyond it is not wanted."""

    async def play(
        self,
        server: Server,
        *,
        version: PolicyVersion,
        adapter: str | None,
        interval: int,
        is_seeded: bool,
        on_tokens: Callable[[], None],
    ) -> FinishReason:
        """One request in the server, from where the row stands; ABORTED where it was ended from outside.

        Raises:
            ForwardFailedError: the server ended it for a reason of its own.
        """
        request, base = self.row.job.request, len(self.row.tokens)
        self.rid, self.is_stopped = f"{next(_numbers):016x}", False
        interval = _STOP_INTERVAL if request.sampling.stop_strings else interval
        stream = server.generate(
            rid=self.rid,
            input_ids=[*request.prompt_ids.tolist(), *self.row.tokens],
            sampling=sampling_arguments(
                request.sampling,
                num_sampled=base,
                seed=request.seeds[self.row.index] if is_seeded else None,
                interval=interval,
            ),
            salt=f"v{version}",
            adapter=adapter,
        )
        finish: Mapping[str, Any] = {}
        try:
            async for chunk, _meta in stream:
                if self._take(chunk, base):
                    server.abort(self.rid)
                on_tokens()
                if chunk.finish is not None:
                    finish = chunk.finish
                    self.prompt_tokens += chunk.prompt_tokens - chunk.cached_tokens
        finally:
            self.rid = ""
        return self._reason(finish)

    def _take(self, chunk: Chunk, base: int) -> bool:
        """Append what is new; return whether a stop string has just been met."""
        row = self.row
        if self.is_stopped:
            return False
        new = chunk.entries[len(row.tokens) - base :]
        if not row.job.request.sampling.stop_strings:
            row.tokens += [entry[1] for entry in new]
            row.logprobs += [entry[0] for entry in new]
            row.job.num_tokens += len(new)
            return False
        for logprob, token, *_text in new:
            if row.append(token, logprob) is FinishReason.STOP:
                self.is_stopped = True
                return chunk.finish is None
        return False

    def _reason(self, finish: Mapping[str, Any]) -> FinishReason:
        if self.is_stopped:
            return FinishReason.STOP
        match finish.get("type"):
            case "stop":
                return FinishReason.STOP
            case "length":
                return FinishReason.LENGTH
            case "abort" if finish.get("status_code") is None:
                return FinishReason.ABORTED
            case _:
                raise ForwardFailedError(f"SGLang ended a request: {finish.get('message') or finish or 'no reason'}")


def sampling_arguments(sampling: Sampling, *, num_sampled: int, seed: int | None, interval: int) -> dict[str, Any]:
    """SGLang's sampling parameters for what is left of a sample of which `num_sampled` tokens are there."""
    arguments: dict[str, Any] = {
        "max_new_tokens": sampling.max_new_tokens - num_sampled,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "stop_token_ids": list(sampling.stop_token_ids) or None,
        "ignore_eos": sampling.ignore_eos,
        "stream_interval": interval,
    }
    if seed is not None:
        # Its own seeds are int64; the position in the text enters beside the seed, so that a cut changes nothing.
        arguments["sampling_seed"] = seed & _SEED_MASK
    return arguments
