"""The last things that happened, readable."""

from collections import deque
from dataclasses import fields, is_dataclass
from typing import Any

LENGTH = 60


class Trace:
    """A ring of (time, who, what); text is made only when somebody reads it."""

    def __init__(self, length: int = LENGTH) -> None:
        self._entries: deque[tuple[float, str, Any]] = deque(maxlen=length)

    def note(self, now: float, who: str, what: Any) -> None:
        """Keep one entry."""
        self._entries.append((now, who, what))

    def __str__(self) -> str:
        return "\n".join(f"{now:9.3f}  {who:<12} {_text(what)}" for now, who, what in self._entries)


def _text(what: Any) -> str:
    if not is_dataclass(what):
        return str(what)
    shown = [(field.name, getattr(what, field.name)) for field in fields(what) if field.name != "now"]
    return f"{type(what).__name__} " + " ".join(f"{name}={_short(value)}" for name, value in shown)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else f"{text[:87]}…"
