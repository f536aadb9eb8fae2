"""A table of samples as Markdown, whatever is in them. Pure."""

from collections.abc import Sequence

from tetrad_learner.coordinator.sample_table import COLUMNS, TableRow


def markdown_table(rows: Sequence[TableRow]) -> str:
    """Return the table; what models and datasets wrote is shown, never obeyed."""
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    return "\n".join([head, *(f"| {' | '.join(map(_cell, row.cells))} |" for row in rows)])


def _cell(value: int | float | str | None) -> str:
    match value:
        case None:
            return "–"
        case str():
            return escaped(value)
        case float():
            return f"{value:.4f}"
        case _:
            return str(value)


def escaped(text: str) -> str:
    r"""Return text that neither Markdown nor HTML takes for anything but text.

    >>> escaped("a|b\n<i>")
    'a&#124;b<br>&#60;i&#62;'
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "<br>".join("".join(map(_character, line)) for line in lines)


def _character(character: str) -> str:
    # Entities mean themselves in both languages; a backslash would mean something only in one.
    is_plain = character.isalnum() or character == " " or not character.isascii()
    return character if is_plain else f"&#{ord(character)};"
