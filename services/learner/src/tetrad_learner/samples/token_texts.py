"""Token ids as text, one by one. Owns the tokenizer; uses its bare library, which needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

TOKENIZER: Final = "tokenizer.json"
# What a decoder writes for bytes that are no whole character.
BROKEN: Final = "\N{REPLACEMENT CHARACTER}"
# Tokens that together may make one character: UTF-8 has four bytes at most.
MAX_PARTS: Final = 4


class Decoder(Protocol):
    """Makes text of ids."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...  # noqa: D102


class TokenTexts:
    """Texts of single tokens, as they stand in a text."""

    def __init__(self, decoder: Decoder | None, *, notice: str = "") -> None:
        self._decoder = decoder
        self.notice = notice
        """Why there are no texts, if there are none."""
        self._of = lru_cache(maxsize=None)(self._alone)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token; of those that make one character together, the first has it."""
        pieces: list[str] = []
        while len(pieces) < len(ids):
            place = len(pieces)
            pieces += self._piece(ids[place : place + MAX_PARTS])
        return pieces

    def _piece(self, ids: Sequence[int]) -> list[str]:
        alone = self._of(ids[0])
        if BROKEN not in alone:
            return [alone]
        for count in range(2, len(ids) + 1):
            together = self._joined(ids[:count])
            if BROKEN not in together:
                return [together, *[""] * (count - 1)]
        return [alone]

    def _alone(self, token: int) -> str:
        if self._decoder is None:
            return f"⟨{token}⟩"
        # Some decoders drop a space in front of a text's first word: a token is shown as it is behind another.
        double, single = self._joined([token, token]), self._joined([token])
        return double[len(single) :] if double.startswith(single) and BROKEN not in single else single

    def _joined(self, ids: Sequence[int]) -> str:
        assert self._decoder is not None
        return self._decoder.decode(list(ids), skip_special_tokens=False)


def load_texts(model: str) -> TokenTexts:
    """Return the texts of a model's tokenizer, a folder or a name in the Hub's cache; ids where it has none."""
    from tokenizers import Tokenizer

    file = _tokenizer_file(model)
    if file is None:
        return TokenTexts(None, notice=f"token ids stand for texts: there is no {TOKENIZER} of {model}")
    return TokenTexts(Tokenizer.from_file(str(file)))


def _tokenizer_file(model: str) -> Path | None:
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / TOKENIZER if (folder / TOKENIZER).is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(model, TOKENIZER)
    except HFValidationError:  # a path that is no folder any more is no name either
        return None
    return Path(cached) if isinstance(cached, str) else None
