"""An exit code says whose fault it was."""

import errno

import pytest

from tetrad_config.errors import ConfigError
from tetrad_runtime.exits import (
    ConfigFault,
    DataFault,
    EngineFault,
    ExitCode,
    MachineFault,
    PeerLost,
    describe_exit,
    exit_code_of,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigFault("x"), 78),
        (ConfigError([]), 78),
        (DataFault("x"), 65),
        (PeerLost("x"), 69),
        (EngineFault("x"), 71),
        (MachineFault("x"), 72),
        (OSError(errno.ENOSPC, "disk full"), 72),
        (MemoryError(), 72),
        (FileNotFoundError(errno.ENOENT, "gone"), 70),
        (ValueError("a bug"), 70),
        (ExceptionGroup("", [ValueError("a bug"), ExceptionGroup("", [PeerLost("gone")])]), 69),
    ],
)
def test_each_error_has_its_code(error, code):
    assert exit_code_of(error) == code


def test_every_code_blames_somebody():
    assert all(code.blame for code in ExitCode)


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (78, "exit code 78 (the configuration)"),
        (-9, "killed by SIGKILL"),
        (-250, "killed by signal 250"),
    ],
)
def test_an_exit_is_described_in_words(returncode, words):
    assert describe_exit(returncode) == words
