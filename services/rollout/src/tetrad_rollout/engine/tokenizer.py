"""A model folder's tokenizer, as far as stop strings need it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tetrad_rollout.engine.stops import Decode


def load_decode(path: str | Path) -> Decode | None:
    """Ids to text with special tokens shown; None when the folder has no tokenizer (stop strings are refused then)."""
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError):  # what transformers raises where there are no tokenizer files
        return None

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=False))

    return decode
