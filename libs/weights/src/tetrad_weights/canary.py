"""The fixed tokens by which an engine is compared with the learner. Pure."""

from typing import Final

LENGTH: Final = 8
"""Tokens, and log-probs that are compared."""
_STRIDE: Final = 7919


def canary_tokens(vocab_size: int) -> tuple[int, ...]:
    """LENGTH tokens, spread over the vocabulary.

    >>> canary_tokens(10)
    (9, 8, 7, 6, 5, 4, 3, 2)
    """
    return tuple(i * _STRIDE % vocab_size for i in range(1, LENGTH + 1))
