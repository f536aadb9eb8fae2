"""Errors of keys and their files."""


class KeysError(ValueError):
    """A key or a file of keys cannot be used; the text says why and what to do."""
