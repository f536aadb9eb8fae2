"""When a sample has said enough: stop token ids and stop strings. Pure but for the tokenizer's `decode`."""

from collections.abc import Callable, Sequence
from typing import Final

from tetrad_rollout.engine.errors import InvalidRequestError
from tetrad_rollout.engine.protocol import Sampling

Decode = Callable[[Sequence[int]], str]
"""Token ids to text, special tokens shown."""

# A token holds at least one byte and a character at most four, so that a stop string of n characters that
# ends in the newest token began at most 4·n tokens ago; a few more, because decoders treat the first specially.
_BYTES_PER_CHARACTER: Final = 4
_CONTEXT_TOKENS: Final = 8


class StopRule:
    """Decides after each token whether a sample of one request is complete."""

    def __init__(self, sampling: Sampling, *, eos_token_ids: Sequence[int], decode: Decode | None) -> None:
        if sampling.stop_strings and decode is None:
            raise InvalidRequestError(
                f"stop_strings {list(sampling.stop_strings)} need a tokenizer and this engine has none; "
                "put tokenizer files into the model folder or use stop_token_ids"
            )
        self._ids = frozenset() if sampling.ignore_eos else frozenset(eos_token_ids) | set(sampling.stop_token_ids)
        self._strings = sampling.stop_strings
        self._decode = decode
        longest = max(map(len, sampling.stop_strings), default=0)
        self._window = _BYTES_PER_CHARACTER * longest + _CONTEXT_TOKENS

    def is_met(self, tokens: Sequence[int]) -> bool:
        """Whether the last of `tokens` completes the sample."""
        if tokens[-1] in self._ids:
            return True
        if not self._strings or self._decode is None:
            return False
        tail = self._decode(tokens[-self._window :])
        return any(string in tail for string in self._strings)
