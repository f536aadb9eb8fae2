"""Fenced blocks of a Markdown page, in order, with what stands around them. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FENCE: Final = re.compile(r"^```(\w*)\s*$")
HEADING: Final = re.compile(r"^#+ (.*)$")
REMARK: Final = re.compile(r"^<!-- (.*) -->$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    number: int
    """Place on the page, from 1."""
    language: str
    """After the fence; empty for output."""
    text: str
    """Between the fences, the last line break included."""
    line: int
    """Line of the opening fence, from 1."""
    heading: str
    """The nearest one above."""
    remark: str = ""
    """HTML comment on the line above the fence."""

    @property
    def first_line(self) -> str:
        """What it begins with."""
        return self.text.partition("\n")[0]


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page.

    >>> [block.text for block in blocks_of("# A\\n<!-- shown -->\\n```bash\\nls\\n```\\n")]
    ['ls\\n']
    """
    heading = remark = ""
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    number = 0
    for place, line in enumerate(page.splitlines(keepends=True), start=1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, lines = (place, fence[1]), []
        elif opened is not None and line.rstrip() == "```":
            number += 1
            yield Block(
                number=number,
                language=opened[1],
                text="".join(lines),
                line=opened[0],
                heading=heading,
                remark=remark,
            )
            opened, remark = None, ""
        elif opened is not None:
            lines.append(line)
        elif found := HEADING.match(line):
            heading = found[1]
        elif line.strip():
            found = REMARK.match(line.strip())
            remark = found[1] if found else ""
    if opened is not None:
        raise ValueError(f"line {opened[0]}: a block is not closed")
