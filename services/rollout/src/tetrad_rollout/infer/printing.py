"""Prints answers in the order of the questions, whatever ends first: as text while they grow, or as JSON lines."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from tetrad_rollout.engine.protocol import FinishReason
from tetrad_rollout.infer.speaker import Growth
from tetrad_rollout.infer.transcript import Transcript

Decode = Callable[[Sequence[int]], str]
Place = tuple[int, int]
"""Question and sample."""


@dataclass(slots=True)
class Totals:
    """What was said."""

    answers: int = 0
    tokens: int = 0
    cut_off: int = 0
    """Answers that reached the limit of tokens."""
    limit: int = 0
    """That limit, of the last one."""

    def count(self, growth: Growth) -> None:
        """Take note of an answer that has ended."""
        self.answers += 1
        self.tokens += len(growth.ids)
        if growth.finish_reason is FinishReason.LENGTH:
            self.cut_off += 1
            self.limit = growth.max_tokens


@dataclass(slots=True, kw_only=True)
class Printer:
    """Takes growths in any order and prints in one."""

    out: TextIO
    decode: Decode
    num_samples: int
    stop_strings: Sequence[str] = ()
    is_json: bool = False
    has_headlines: bool = False
    """Whether each answer has its question above it; for text only."""
    totals: Totals = field(default_factory=Totals)
    _waiting: dict[Place, Growth] = field(default_factory=dict)
    _present: Place = (0, 0)
    _transcript: Transcript | None = None

    def take(self, growth: Growth) -> None:
        """Print what can be: the present sample's new text, and those after it that have ended."""
        self._waiting[growth.index, growth.sample] = growth
        while (present := self._waiting.get(self._present)) is not None:
            self._print(present)
            if present.finish_reason is None:
                return
            self.totals.count(present)
            del self._waiting[self._present]
            self._present, self._transcript = self._next(), None

    def _next(self) -> Place:
        index, sample = self._present
        return (index, sample + 1) if sample + 1 < self.num_samples else (index + 1, 0)

    def _print(self, growth: Growth) -> None:
        is_finished = growth.finish_reason is not None
        if self.is_json and not is_finished:
            return
        is_new = self._transcript is None
        transcript = self._transcript or Transcript(self.decode, self.stop_strings)
        self._transcript = transcript
        new = transcript.grown(growth.ids, is_finished=is_finished)
        if self.is_json:
            self.out.write(_json_line(growth, transcript.text) + "\n")
        else:
            headline = self._headline(growth) if is_new and self.has_headlines else ""
            self.out.write(headline + new + ("\n" if is_finished else ""))
        self.out.flush()

    def _headline(self, growth: Growth) -> str:
        number = f"{growth.index + 1}" if self.num_samples == 1 else f"{growth.index + 1}.{growth.sample + 1}"
        gap = "\n" if self._present != (0, 0) else ""
        return f"{gap}[{number}] {growth.question.headline}\n"


def _json_line(growth: Growth, text: str) -> str:
    """The row as it came, and the answer under the names that `tetrad grade` reads."""
    question = growth.question
    prompt = question.prompt if isinstance(question.prompt, str) else [dict(turn) for turn in question.prompt]
    answer = {
        "prompt": prompt,
        "response": text,
        "finish_reason": growth.finish_reason,
        "sample": growth.sample,
        "seed": growth.seed,
        "num_prompt_tokens": growth.num_prompt_tokens,
        "num_tokens": len(growth.ids),
    }
    return json.dumps({**question.columns, **answer}, ensure_ascii=False, default=str)
