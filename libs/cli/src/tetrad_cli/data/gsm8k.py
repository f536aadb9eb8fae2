"""GSM8K (Cobbe et al. 2021, arXiv:2110.14168) in SkyRL's row format.

Owns the wording of the prompt and the ground truth. Where the problems come from: `gsm8k_source`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tetrad_cli.data.errors import DataCommandError
from tetrad_cli.data.gsm8k_source import from_folder, from_hub
from tetrad_cli.data.report import write_and_report
from tetrad_trajectories.row import Message, Row
from tetrad_trajectories.sources import Source

DATA_SOURCE: Final = "openai/gsm8k"
FILES: Final[Mapping[str, str]] = {"train": "train.parquet", "test": "validation.parquet"}
"""File of each split. The test split is written as validation.parquet, as SkyRL and its tutorial do."""

_ANSWER: Final = re.compile(r"#### (-?[0-9.,]+)")


class AnswerFormat(StrEnum):
    """How the prompt asks for the final answer."""

    HASH = "hash"
    BOXED = "boxed"

    @property
    def instruction(self) -> str:
        """What follows the question."""
        return INSTRUCTIONS[self]


INSTRUCTIONS: Final[Mapping[AnswerFormat, str]] = {
    AnswerFormat.HASH: 'Let\'s think step by step and output the final answer after "####".',
    AnswerFormat.BOXED: r"Let's think step by step and output the final answer within \boxed{}.",
}


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """How a question becomes a prompt."""

    answer_format: AnswerFormat = AnswerFormat.HASH
    system_prompt: str | None = None
    """None: no system message."""

    def messages(self, question: str) -> tuple[Message, ...]:
        """Return the conversation that asks `question`."""
        user = Message("user", f"{question} {self.answer_format.instruction}")
        return (user,) if self.system_prompt is None else (Message("system", self.system_prompt), user)


def prepare(output_dir: Path, *, source: Path | None, style: PromptStyle, max_train_rows: int | None = None) -> None:
    """Write train.parquet and validation.parquet from a folder of JSON lines, or from the Hub if `source` is None."""
    problems = {split: from_folder(source, split) if source else from_hub(split) for split in FILES}
    limits = {"train": max_train_rows, "test": None}
    for split, file_name in FILES.items():
        rows = to_rows(problems[split], split=split, style=style, max_rows=limits[split])
        write_and_report(output_dir / file_name, rows, metadata=_metadata(problems[split], style))


def to_rows(problems: Source, *, split: str, style: PromptStyle, max_rows: int | None = None) -> Sequence[Row]:
    """Turn problems (`question`, `answer`) into rows; raise DataCommandError naming the one that is none."""
    num_rows = len(problems) if max_rows is None else min(max_rows, len(problems))
    return [_row(problems, index, split=split, style=style) for index in range(num_rows)]


def final_answer(answer: str) -> str | None:
    """Return the number after `####`, without thousands separators; None if there is none.

    >>> final_answer("She sold 70000 more. #### 70,000")
    '70000'
    """
    match = _ANSWER.search(answer)
    return match[1].replace(",", "") if match else None


def _row(problems: Source, index: int, *, split: str, style: PromptStyle) -> Row:
    record = problems.record(index)
    question, answer = record.get("question"), record.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        raise DataCommandError(f"{problems.where(index)}: needs question and answer, has {', '.join(record)}")
    ground_truth = final_answer(answer)
    if ground_truth is None:
        raise DataCommandError(f"{problems.where(index)}, column answer: no number after '#### '")
    return Row(
        prompt=style.messages(question),
        env_class="gsm8k",
        reward_method="rule",
        ground_truth=ground_truth,
        extras={
            "data_source": DATA_SOURCE,
            "extra_info": {"split": split, "index": index, "answer": answer, "question": question},
        },
    )


def _metadata(problems: Source, style: PromptStyle) -> dict[str, str]:
    return {
        "tetrad.dataset": DATA_SOURCE,
        "tetrad.source_file": problems.path.name,
        "tetrad.answer_format": style.answer_format.value,
        "tetrad.system_prompt": style.system_prompt or "",
    }
