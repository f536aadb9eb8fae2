"""Answers questions with the rollout's own engine, in one thread, and tells of every token.

Owns the engine core and the rendering. A sample is a function of weights, prompt, seed and its number, as in a run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrad_rollout.engine.core import BatchSettings, EngineCore, Outcome
from tetrad_rollout.engine.errors import InvalidRequestError
from tetrad_rollout.engine.protocol import FinishReason, GenerationRequest, RequestId, Sampling
from tetrad_rollout.engine.rows import Job
from tetrad_rollout.infer.loading import Loaded
from tetrad_rollout.infer.questions import Question
from tetrad_rollout.rendering import Ids, Message, Renderer, RenderingError
from tetrad_runtime.exits import ConfigFault, DataFault, EngineFault

# The context of the model is the only limit here.
_NO_LIMIT: Final = 2**31 - 1
DEFAULT_MAX_TOKENS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How to answer."""

    max_tokens: int | None
    """New tokens of a sample at most; None takes what the context leaves, up to `DEFAULT_MAX_TOKENS`."""
    temperature: float
    top_p: float
    top_k: int
    stop_strings: tuple[str, ...]
    num_samples: int
    seed: int
    """Of the first sample of each prompt; the others have the next ones."""
    system: str | None
    is_raw: bool
    """Continue the text, without a chat template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How far one sample has come."""

    index: int
    """Of the question, from 0."""
    sample: int
    """Of its question, from 0."""
    seed: int
    question: Question
    num_prompt_tokens: int
    max_tokens: int
    ids: Sequence[int]
    """All that was sampled so far."""
    finish_reason: FinishReason | None
    """None while it goes on."""


class Speaker:
    """One model that answers."""

    def __init__(self, loaded: Loaded, wishes: Wishes, *, max_num_seqs: int) -> None:
        self._wishes = wishes
        self._tokenizer = loaded.tokenizer
        self._max_context = loaded.runner.max_context
        self._renderer = None if wishes.is_raw else _renderer(loaded)
        settings = BatchSettings(max_num_seqs=max_num_seqs)
        self._core = EngineCore(loaded.runner, settings=settings, decode=self._decode_all)
        self._open: dict[int, tuple[int, Question]] = {}
        loaded.runner.start()

    def text(self, ids: Sequence[int]) -> str:
        """Return sampled ids as text, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def answers(self, questions: Iterable[Question], *, is_one_by_one: bool = False) -> Iterator[Growth]:
        """Yield every sample as it grows; with `is_one_by_one` the next question is read after an answer.

        Raises DataFault for a question that cannot be asked, EngineFault where the model fails.
        """
        asked = enumerate(questions)
        while True:
            while (self._core.is_idle or not is_one_by_one) and self._core.has_free_rows:
                if (next_one := next(asked, None)) is None:
                    break
                self._ask(*next_one)
            if self._core.is_idle:
                return
            yield from self._grown(self._core.step())

    def _decode_all(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def _ask(self, index: int, question: Question) -> None:
        ids = self._prompt_ids(question)
        wishes = self._wishes
        room = self._max_context - ids.size
        max_tokens = min(DEFAULT_MAX_TOKENS, max(room, 1)) if wishes.max_tokens is None else wishes.max_tokens
        if max_tokens > room:
            raise DataFault(
                f"{question.where} has {ids.size} tokens; with {max_tokens} new ones it needs {ids.size + max_tokens}, "
                f"the model's context is {self._max_context}: shorten it, or lower --max-tokens"
            )
        sampling = Sampling(
            max_new_tokens=max_tokens,
            temperature=wishes.temperature,
            top_p=wishes.top_p,
            top_k=wishes.top_k,
            stop_strings=wishes.stop_strings,
        )
        seeds = tuple(wishes.seed + number for number in range(wishes.num_samples))
        request = GenerationRequest(request_id=RequestId(str(index)), prompt_ids=ids, seeds=seeds, sampling=sampling)
        try:
            job = self._core.submit(request)
        except InvalidRequestError as error:
            raise DataFault(f"{question.where}: {error}") from error
        self._open[id(job)] = (index, question)

    def _prompt_ids(self, question: Question) -> Ids:
        if self._renderer is not None:
            return self._rendered(self._renderer, question.messages(system=self._wishes.system), question.where)
        if not isinstance(question.prompt, str):
            raise DataFault(f"{question.where}: --raw continues a text, and this is a conversation; leave --raw out")
        return np.array(self._tokenizer.encode(question.prompt), np.int32)

    def _rendered(self, renderer: Renderer, messages: Sequence[Message], where: str) -> Ids:
        from jinja2 import TemplateError

        try:
            return renderer.prompt(messages)
        except (TemplateError, RenderingError) as error:
            raise DataFault(f"{where}: the model's chat template does not take it: {error}") from error

    def _grown(self, outcome: Outcome) -> Iterator[Growth]:
        for job, error in outcome.failed:
            raise EngineFault(f"{self._open[id(job)][1].where}: {error}") from error
        for job in outcome.advanced:
            index, question = self._open[id(job)]
            for sample, ids in enumerate(self._core.sampled(job)):
                yield Growth(
                    index=index,
                    sample=sample,
                    seed=job.request.seeds[sample],
                    question=question,
                    num_prompt_tokens=job.request.prompt_ids.size,
                    max_tokens=job.request.sampling.max_new_tokens,
                    ids=ids,
                    finish_reason=_reason(job, sample),
                )
            if job.is_done:
                del self._open[id(job)]


def _reason(job: Job, sample: int) -> FinishReason | None:
    ended = job.samples[sample]
    return None if ended is None else ended.finish_reason


def _renderer(loaded: Loaded) -> Renderer:
    if not loaded.tokenizer.chat_template:
        raise ConfigFault(
            "--model has no chat template: put chat_template.jinja into its folder, or continue the text as it is with "
            "--raw"
        )
    try:
        return Renderer(loaded.tokenizer, max_prompt_length=_NO_LIMIT)
    except RenderingError as error:
        raise ConfigFault(f"--model: {error}") from error
