"""What is asked: prompts of the command line, of files and of standard input, one question each.

Owns the formats. Knows no template, no tokenizer and no model.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final, TextIO

from tetrad_rollout.rendering import Message
from tetrad_runtime.exits import ConfigFault, DataFault

DATASETS: Final = (".parquet", ".json")
JSON_LINES: Final = ".jsonl"
SYSTEM: Final = "system"
STDIN: Final = "-"
PROMPT_COLUMNS: Final = ("prompt", "messages")
INSTALL: Final = "pip install 'tetrad-rollout[infer]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt."""

    where: str
    """Where it comes from, for errors."""
    prompt: str | tuple[Message, ...]
    """Text of the user, or a conversation."""
    columns: Mapping[str, object] = field(default_factory=dict)
    """The row that it stands in; empty for text."""

    @property
    def headline(self) -> str:
        """What is asked, in one line."""
        text = self.prompt if isinstance(self.prompt, str) else str(self.prompt[-1].get("content", ""))
        return " ".join(text.split())

    def messages(self, *, system: str | None) -> list[Message]:
        """Return the conversation; `system` comes first where it has no such message of its own."""
        turns: list[Message] = (
            [{"role": "user", "content": self.prompt}] if isinstance(self.prompt, str) else list(self.prompt)
        )
        has_own = turns[0].get("role") == SYSTEM
        return turns if system is None or has_own else [{"role": SYSTEM, "content": system}, *turns]


def questions_of(
    prompts: Sequence[str], files: Sequence[Path], *, stdin: TextIO, limit: int | None = None
) -> Iterator[Question]:
    """Yield the prompts named, then those of the files; without either, the lines of standard input.

    Raises ConfigFault for a file that is not there, DataFault for a line that is no prompt.
    """
    if not prompts and not files:
        return islice(_of_lines(stdin, where="standard input", is_json=False), limit)
    return islice(chain(_named(prompts, stdin), *map(_of_file, files)), limit)


def _named(prompts: Sequence[str], stdin: TextIO) -> Iterator[Question]:
    for number, prompt in enumerate(prompts, start=1):
        text = stdin.read() if prompt == STDIN else prompt
        yield _text(text, where=f"--prompt {number}" if len(prompts) > 1 else "--prompt")


def _text(text: str, *, where: str) -> Question:
    if not text.strip():
        raise DataFault(f"{where} is empty; give it a text")
    return Question(where=where, prompt=text)


def _of_file(path: Path) -> Iterator[Question]:
    path = path.expanduser()
    if not path.is_file():
        raise ConfigFault(f"--file {path} does not exist")
    if path.suffix in DATASETS:
        yield from _of_dataset(path)
        return
    with path.open(encoding="utf-8") as lines:
        yield from _of_lines(lines, where=str(path), is_json=path.suffix == JSON_LINES)


def _of_dataset(path: Path) -> Iterator[Question]:
    try:
        from tetrad_trajectories.errors import DatasetError
        from tetrad_trajectories.sources import open_source
    except ImportError as error:
        raise ConfigFault(f"--file {path}: Parquet and JSON arrays need `{INSTALL}`") from error
    try:
        source = open_source(path)
        for index in range(len(source)):
            yield _row(source.record(index), where=source.where(index))
    except DatasetError as error:
        raise DataFault(str(error)) from error


def _of_lines(lines: Iterable[str], *, where: str, is_json: bool) -> Iterator[Question]:
    """Each line is a prompt: a row of JSON, or else text, where lines may be text."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        row = _parsed(line)
        if row is not None and (is_json or any(name in row for name in PROMPT_COLUMNS)):
            yield _row(row, where=place)
        elif is_json:
            raise DataFault(f"{place}: needs a JSON object with {' or '.join(PROMPT_COLUMNS)}")
        else:
            yield _text(line.rstrip("\n"), where=place)


def _parsed(line: str) -> Mapping[str, object] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _row(columns: Mapping[str, object], *, where: str) -> Question:
    """A row of a dataset, or of an OpenAI-like file."""
    prompt = next((columns[name] for name in PROMPT_COLUMNS if name in columns), None)
    if isinstance(prompt, str) and prompt.strip():
        return Question(where=where, prompt=prompt, columns=columns)
    if not isinstance(prompt, list) or not prompt or not all(map(_is_message, prompt)):
        shown = json.dumps(prompt, default=str)[:80]
        raise DataFault(f"{where}: prompt is {shown}; it must be text, or messages with role and content")
    return Question(where=where, prompt=tuple(prompt), columns=columns)


def _is_message(message: object) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str) and "content" in message
