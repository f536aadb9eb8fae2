"""Exit codes that say whose fault it was, and the errors that carry them.

Pure. The numbers are those of sysexits.h where it has a fitting one.
"""

import errno
import signal
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What a process tells whoever started it."""

    OK = 0
    DATA = 65
    """The dataset or a batch: a broken prompt, a loss that is not finite."""
    PEER_LOST = 69
    """Another service was gone for longer than we may wait."""
    INTERNAL = 70
    """A bug of ours."""
    ENGINE = 71
    """The inference engine failed, or no certified engine was there in time."""
    ENVIRONMENT = 72
    """The machine: disk, memory, shared memory, a port that is taken."""
    BUSY = 73
    """Somebody else holds the run directory."""
    DRAIN_TIMEOUT = 75
    """Asked to stop, it did not finish within its deadline."""
    CONFIG = 78
    """The user's configuration."""

    @property
    def blame(self) -> str:
        """Who is to look, in a few words."""
        return BLAME[self]


BLAME: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "nobody",
    ExitCode.DATA: "the data",
    ExitCode.PEER_LOST: "a lost peer",
    ExitCode.INTERNAL: "a bug",
    ExitCode.ENGINE: "the inference engine",
    ExitCode.ENVIRONMENT: "the machine",
    ExitCode.BUSY: "a run directory in use",
    ExitCode.DRAIN_TIMEOUT: "a drain that took too long",
    ExitCode.CONFIG: "the configuration",
}


# What the operating system says when the machine has no more of something.
MACHINE_ERRORS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EADDRINUSE, errno.EACCES}
)


class Fault(Exception):  # noqa: N818 - the word of the exit codes
    """An error that knows whose fault it is; `run_service` ends the process with its code.

    ├── ConfigFault       the user's configuration
    ├── DataFault         the dataset or a batch
    ├── PeerLost          another service
    ├── EngineFault       the inference engine
    ├── MachineFault      disk, memory, ports
    └── RunBusy           the run directory is held
    """

    exit_code: ExitCode = ExitCode.INTERNAL


class ConfigFault(Fault):
    """The user's configuration is wrong."""

    exit_code = ExitCode.CONFIG


class DataFault(Fault):
    """The dataset or a batch cannot be trained on."""

    exit_code = ExitCode.DATA


class PeerLost(Fault):
    """Another service is gone."""

    exit_code = ExitCode.PEER_LOST


class EngineFault(Fault):
    """The inference engine failed."""

    exit_code = ExitCode.ENGINE


class MachineFault(Fault):
    """The machine lacks something."""

    exit_code = ExitCode.ENVIRONMENT


class RunBusy(Fault):
    """Somebody else holds the run directory."""

    exit_code = ExitCode.BUSY


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the code that an error ends a process with; a group's is that of its first fault with a name.

    >>> exit_code_of(ExceptionGroup("", [KeyError("x"), EngineFault("died")])).name
    'ENGINE'
    """
    if isinstance(error, BaseExceptionGroup):
        codes = [exit_code_of(inner) for inner in error.exceptions]
        return next((code for code in codes if code is not ExitCode.INTERNAL), ExitCode.INTERNAL)
    match error:
        case Fault():
            return error.exit_code
        case _ if is_config_error(error):
            return ExitCode.CONFIG
        case MemoryError():
            return ExitCode.ENVIRONMENT
        case OSError() if error.errno in MACHINE_ERRORS:
            return ExitCode.ENVIRONMENT
        case _:
            return ExitCode.INTERNAL


def is_config_error(error: BaseException) -> bool:
    """Whether tetrad_config raised it.

    That library takes a while to import, and commands want to be quick; where it is not loaded, none of its errors is.
    """
    errors = sys.modules.get("tetrad_config.errors")
    return errors is not None and isinstance(error, errors.ConfigError)


def describe_exit(returncode: int) -> str:
    """Say in words how a child ended; negative codes are signals, as in `subprocess`.

    >>> describe_exit(71), describe_exit(-9)
    ('exit code 71 (the inference engine)', 'killed by SIGKILL')
    """
    if returncode < 0:
        return f"killed by {_signal_name(-returncode)}"
    if returncode != ExitCode.OK and returncode in set(ExitCode):
        return f"exit code {returncode} ({ExitCode(returncode).blame})"
    return f"exit code {returncode}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
