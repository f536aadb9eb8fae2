"""Resources and journal: threads of each process, and how long trained batches are kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from tetrad_config.section import Section

AUTO: Final = "auto"


class JournalKeep(StrEnum):
    """How far back the batches of trained steps are kept."""

    OLDEST_CHECKPOINT = "oldest_checkpoint"
    ALL = "all"


def _is_threads(value: int | str) -> int | str:
    if value == AUTO or (isinstance(value, int) and value >= 1):
        return value
    raise ValueError("must be at least 1, or auto")


class Resources(Section):
    """`resources`: what processes may use of their host."""

    threads_per_process: Annotated[int | str, AfterValidator(_is_threads)] = AUTO
    """Compute threads of each process that computes; `auto` shares the host's cores among them."""


class Journal(Section):
    """`journal`: the batches of trained steps."""

    keep: Annotated[JournalKeep, Field(strict=False)] = JournalKeep.OLDEST_CHECKPOINT
    """Back to the oldest checkpoint that is kept, or for ever."""
