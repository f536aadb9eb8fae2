"""Everything an engine refuses or fails at, as one tree.

EngineError
├── InvalidRequestError      the caller asked for something no engine could do (also a ValueError)
├── EngineBusyError          the queue is full, or work is running where none may run
├── EngineAsleepError        sleep() was called and wake() was not
├── EngineClosedError        close() was called, or the engine thread has died
├── ForwardFailedError       the model's forward raised or gave numbers that are not finite; only its requests fail
├── WeightStateError         a weight event that the transition table does not know
├── LayoutError              a layout that does not fit the model (also a ValueError)
├── DigestMismatchError      the staged bytes are not those of the manifest
├── ProbeFailedError         the engine does not compute what the committed weights imply
└── UnknownEngineError       no engine of that name (also a ValueError)
"""


class EngineError(Exception):
    """Anything that an engine refuses or fails at."""


class InvalidRequestError(EngineError, ValueError):
    """The request can never be served as it is; do not send it again."""


class EngineBusyError(EngineError):
    """The queue is full, or the operation needs an idle engine; try again later."""


class EngineAsleepError(EngineError):
    """The engine sleeps; call wake() first."""


class EngineClosedError(EngineError):
    """The engine is closed or has died; nothing more will come from it."""


class ForwardFailedError(EngineError):
    """A forward pass failed. The requests that shared it fail; the engine goes on."""


class WeightStateError(EngineError):
    """An event that is illegal in the present weight state."""


class LayoutError(EngineError, ValueError):
    """The layout's names, dtypes or shapes are not the model's."""


class DigestMismatchError(EngineError):
    """The digest of the bytes is not the expected one; the stage must be filled again."""


class ProbeFailedError(EngineError):
    """The probe after a commit gave non-finite or unexpected log-probs; the engine is quarantined."""


class UnknownEngineError(EngineError, ValueError):
    """No engine is registered under this name."""
