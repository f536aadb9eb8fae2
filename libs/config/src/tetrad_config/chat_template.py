"""Chat template: where a model folder keeps it, looked up without loading a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

FILES: Final = ("chat_template.jinja", "chat_template.json")
REMEDY: Final = "copy chat_template.jinja from the instruct model of the same family into the folder"
_SETTINGS: Final = "tokenizer_config.json"


def template_file(folder: Path) -> str | None:
    """Return the file of a model folder that holds its chat template; None where none does."""
    for name in FILES:
        if (folder / name).is_file():
            return name
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _SETTINGS if isinstance(settings, dict) and settings.get("chat_template") else None
