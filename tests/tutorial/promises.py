"""Every promise, in order."""

from typing import Final

from tutorial.file_promises import FILE_PROMISES
from tutorial.install_promises import INSTALL_PROMISES
from tutorial.model_promises import MODEL_PROMISES
from tutorial.run_promises import RUN_PROMISES
from tutorial.verdict import Promise

PROMISES: Final[tuple[Promise, ...]] = tuple(
    sorted(
        (*INSTALL_PROMISES, *FILE_PROMISES, *RUN_PROMISES, *MODEL_PROMISES),
        key=lambda promise: int(promise.name.removeprefix("T")),
    )
)
