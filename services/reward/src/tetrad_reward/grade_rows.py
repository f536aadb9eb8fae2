"""Rows of JSON in, graded rows out, in order, with many in the workers at once.

Knows no command line. The same workers grade as in the service.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from tetrad_reward.ground_truth import ground_truth_of, with_ground_truth
from tetrad_reward.requests import Failed, Opening, Stepped
from tetrad_reward.workers import Workers
from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import ChatMessage

# Rows in the workers at once: enough to keep their pipes full, few enough to forget about memory.
WINDOW: Final = 256


class BadRowError(ValueError):
    """A row cannot be graded; the message names its line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line, read and checked."""

    line: int
    """Its number, from 1."""
    columns: dict[str, object]
    response: str
    opening: Opening


@dataclass(slots=True)
class Totals:
    """What became of the rows."""

    rows: int = 0
    rewards: float = 0.0
    failed: int = 0

    def add(self, reply: Stepped | Failed) -> None:
        """Count one."""
        self.rows += 1
        if isinstance(reply, Failed):
            self.failed += 1
        else:
            self.rewards += reply.reward

    @property
    def mean(self) -> float | None:
        """Mean reward of the rows that have one."""
        scored = self.rows - self.failed
        return self.rewards / scored if scored else None


async def grade_rows(
    lines: AsyncIterator[bytes], workers: Workers, *, grader: str, write: Callable[[str], object]
) -> Totals:
    """Grade each line and write it back; raises BadRowError once what came before it is written."""
    totals = Totals()
    pending: deque[tuple[Row, asyncio.Task[Stepped | Failed]]] = deque()

    async def write_oldest() -> None:
        row, task = pending.popleft()
        reply = await task
        totals.add(reply)
        write(json.dumps(graded(row, reply)) + "\n")

    try:
        async for row in _rows(lines, grader):
            pending.append((row, asyncio.create_task(workers.grade(row.opening, row.response))))
            if len(pending) >= WINDOW:
                await write_oldest()
    finally:
        # Also after a bad row: what came before it is good.
        while pending:
            await write_oldest()
    return totals


async def _rows(lines: AsyncIterator[bytes], grader: str) -> AsyncIterator[Row]:
    number = 0
    async for line in lines:
        number += 1
        if line.strip():
            yield read_row(line, number=number, grader=grader)


def read_row(line: bytes, *, number: int, grader: str) -> Row:
    """Read one line; raises BadRowError naming what is wrong with it."""
    try:
        columns = json.loads(line)
    except ValueError as error:
        raise BadRowError(f"line {number}: no JSON: {error}") from None
    if not isinstance(columns, dict):
        raise BadRowError(f"line {number}: {type(columns).__name__}; each line must be an object")
    response = columns.get("response")
    if not isinstance(response, str):
        raise BadRowError(f"line {number}: response is {json.dumps(response)[:80]}; it must be text")
    try:
        opening = _opening(columns, grader)
    except ValueError as error:
        raise BadRowError(f"line {number}: {error}") from None
    return Row(line=number, columns=columns, response=response, opening=opening)


def graded(row: Row, reply: Stepped | Failed) -> dict[str, object]:
    """Return the row with what the grader said; `reason` only where there is no reward."""
    if isinstance(reply, Failed):
        verdict: dict[str, object] = {
            "reward": None,
            "outcome": reply.outcome.value,
            "extracted": None,
            "rule": None,
            "scores": None,
            "reason": reply.reason,
        }
    else:
        verdict = {
            "reward": reply.reward,
            "outcome": GradeOutcome.OK.value,
            "extracted": reply.extracted,
            "rule": reply.rule,
            "scores": reply.scores,
        }
    return {**row.columns, **verdict}


def _opening(columns: dict[str, object], grader: str) -> Opening:
    if "ground_truth" not in columns and "reward_spec" not in columns:
        raise ValueError("no ground_truth; null says that there is none")
    truth = columns.get("ground_truth")
    if truth is not None and not isinstance(truth, str):
        raise ValueError(f"ground_truth is {json.dumps(truth)[:80]}; write it as text")
    extras = {name: value for name, value in columns.items() if name not in {"response", "ground_truth", "prompt"}}
    extras = with_ground_truth(extras, truth)
    ground_truth_of(extras)
    return Opening(grader=grader, messages=_messages(columns.get("prompt")), extras={"max_turns": 1, **extras})


def _messages(prompt: object) -> tuple[ChatMessage, ...]:
    if prompt is None:
        return ()
    if isinstance(prompt, str):
        return (ChatMessage("user", prompt),)
    try:
        return tuple(ChatMessage(str(message["role"]), str(message["content"])) for message in prompt)  # type: ignore[attr-defined] # what is no list of messages fails below
    except (TypeError, KeyError):
        raise ValueError("prompt is neither text nor a list of messages with role and content") from None
