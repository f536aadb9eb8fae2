"""Errors of a channel."""


class TransportError(Exception):
    """A message could not be sent or received."""


class PeerGoneError(TransportError):
    """The peer is not connected."""


class PeerFullError(TransportError):
    """The peer's outbox is full: it does not keep up, or nobody is there yet."""


class ClosedError(TransportError):
    """The channel was closed on our side."""


class DeadlineError(TransportError):
    """No reply came in time."""


class RefusedError(TransportError):
    """The listener refused the message: our key does not permit it."""
