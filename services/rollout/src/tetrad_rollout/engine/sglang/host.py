"""The thread that starts SGLang's processes and lives as long as they do.

Linux ends a child when the *thread* that started it ends. The event loop must not be held up by a start that takes a
minute, and a worker of a pool may end at any time: so a thread of its own.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Host:
    """Makes something on a thread that stays."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._made: Future[Any] = Future()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(make,), name="sglang-host", daemon=True)
        self._thread.start()

    def made(self) -> Any:
        """What was made, once it is; raises what making it raised."""
        return self._made.result()

    def end(self) -> None:
        """Let the thread go."""
        self._is_over.set()

    def _run(self, make: Callable[[], Any]) -> None:
        try:
            self._made.set_result(make())
        except BaseException as error:  # handed to whoever waits
            self._made.set_exception(error)
            return
        self._is_over.wait()
