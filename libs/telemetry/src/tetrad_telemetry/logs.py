"""One line format for everything a process says: our events and the lines of foreign libraries.

Owns the root logger of the process. Must not know what any service does; `context.py` holds what is bound to each line.
"""

import logging
import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, TextIO, assert_never

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# Libraries whose INFO lines are per-request noise; their warnings still come through.
NOISY_LOGGERS: Final = ("asyncio", "urllib3", "filelock", "httpx", "matplotlib")


class LogFormat(StrEnum):
    """How a line looks."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The value that the standard library uses for this level."""
        return logging.getLevelNamesMapping()[self.name]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; call it as `log.info("group_scored", lag=2)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def configure(
    *,
    service: str,
    format: LogFormat | str = LogFormat.CONSOLE,  # noqa: A002 - the word the settings use
    level: LogLevel | str = LogLevel.INFO,
    stream: TextIO | None = None,
) -> None:
    """Send every line of this process to `stream` (default: standard error) in one format.

    Calling it again replaces what was configured before. Raises ValueError for an unknown format or level.
    """
    out = stream if stream is not None else sys.stderr
    shared = _shared_processors(service)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Not cached: a second configure(), as in tests, must reach loggers made at import.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(LogFormat(format), shared=shared, is_coloured=out.isatty()))
    _take_over_root(handler, LogLevel(level))


def _shared_processors(service: str) -> list[Processor]:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
        add_service,
    ]


def _formatter(
    format_: LogFormat, *, shared: Iterable[Processor], is_coloured: bool
) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=list(shared),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(format_, is_coloured=is_coloured),
        ],
    )


def _renderers(format_: LogFormat, *, is_coloured: bool) -> list[Processor]:
    # Locals of a frame here are tensors and token lists: printing them would bury the traceback.
    match format_:
        case LogFormat.JSON:
            tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            return [
                structlog.processors.ExceptionRenderer(tracebacks),
                structlog.processors.JSONRenderer(default=str),
            ]
        case LogFormat.CONSOLE:
            return [
                structlog.dev.ConsoleRenderer(
                    colors=is_coloured, exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
                )
            ]
        case _:
            assert_never(format_)


def _take_over_root(handler: logging.Handler, level: LogLevel) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.number)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(max(level.number, logging.WARNING))
    logging.captureWarnings(capture=True)
