"""Runs one Python program in the sandbox and says how it ended. Blocks, within the limits."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from tetrad_reward.sandbox import bubblewrap
from tetrad_reward.sandbox.limits import Limits
from tetrad_reward.sandbox.seccomp import filter_program

MAIN: Final = "/program.py"
ERROR_BYTES: Final = 64 << 10
MISSING: Final = (
    "the program bwrap is missing; install it: apt-get install bubblewrap, dnf install bubblewrap, "
    "or pip install 'tetrad-reward[code]'"
)
PROBE_S: Final = 5.0
# A process that was killed may take a moment to give back its memory.
REAP_S: Final = 5.0


class SandboxError(Exception):
    """Programs cannot be run safely here; the message names what is missing and the fix."""


class End(StrEnum):
    """How a program ended."""

    EXITED = "exited"
    """By itself, with code 0."""
    FAILED = "failed"
    """By itself, with another code or an exception."""
    KILLED = "killed"
    """By a signal."""
    OUT_OF_TIME = "out_of_time"
    OUT_OF_OUTPUT = "out_of_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that has run."""

    end: End
    output: str
    error: str
    """The end of standard error."""
    seconds: float


def run_program(
    source: str, *, limits: Limits, stdin: str = "", files: Mapping[str, str] | None = None, main: str = MAIN
) -> Finished:
    """Run `source` as /program.py, or `main`, which is one of `files` beside it.

    Raises SandboxError where the sandbox itself fails; what the program does is never an error.
    """
    contents = {MAIN: source, **(files or {})}
    with contextlib.ExitStack() as stack:
        inside = {path: stack.enter_context(_in_memory(_encoded(text))) for path, text in contents.items()}
        seccomp = stack.enter_context(_in_memory(_filter()))
        given = stack.enter_context(_in_memory(_encoded(stdin)))
        output, error, status = (stack.enter_context(_in_memory(b"")) for _ in range(3))
        command = (bubblewrap.interpreter(), "-I", main)
        argv = bubblewrap.arguments(
            program=_bubblewrap(), seccomp=seccomp, status=status, files=inside, command=command
        )
        began = time.monotonic()
        is_late = _wait(argv, limits, (given, output, error), (*inside.values(), seccomp, status))
        seconds = time.monotonic() - began
        report = _report(_text(status, ERROR_BYTES))
        _reap(report.get("child-pid"))
        said = _text(error, limits.output_bytes)[-ERROR_BYTES:]
        code = None if is_late else _exit_code(report, said)
        text = _text(output, limits.output_bytes)
        end = _end_of(code, is_flooded=os.fstat(output).st_size >= limits.output_bytes)
        return Finished(end=end, output=text, error=said, seconds=seconds)


def probe() -> None:
    """Run programs that show whether the sandbox holds; raises SandboxError naming what does not."""
    try:
        _filter()
    except ValueError as error:
        raise SandboxError(str(error)) from None
    for promise, program in PROMISES.items():
        finished = run_program(program, limits=Limits(cpu_s=PROBE_S))
        if finished.end is not End.EXITED or finished.output != "ok":
            what = f"{finished.end}: {finished.output[:80]}{finished.error[-200:].strip()}"
            raise SandboxError(f"the sandbox does not hold: {promise}: {what}")


PROMISES: Final[Mapping[str, str]] = {
    "it is alone and cannot start a process, open a socket or write outside /tmp": """
import os
def refused(act):
    try:
        act()
    except OSError:
        return True
    return False
def connect():
    import socket
    socket.create_connection(("127.0.0.1", 1), timeout=1)
acts = {
    "fork": os.fork,
    "socket": connect,
    "write to /": lambda: open("/escaped", "w"),
    "write to /usr": lambda: open("/usr/escaped", "w"),
    "read /etc/passwd": lambda: open("/etc/passwd"),
    "read /proc": lambda: os.listdir("/proc"),
}
open("/tmp/mine", "w").close()
broken = [name for name, act in acts.items() if not refused(act)]
print(", ".join(broken) or "ok", end="")
""",
}


def _bubblewrap() -> str:
    program = bubblewrap.program()
    if program is None:
        raise SandboxError(MISSING)
    return program


@cache
def _filter() -> bytes:
    return filter_program()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[int]:
    """Yield the descriptor of a file without a name, with these bytes in it."""
    descriptor = os.memfd_create("tetrad-sandbox")
    try:
        os.write(descriptor, data) if len(data) < (1 << 16) else _write_all(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)


def _wait(argv: list[str], limits: Limits, streams: tuple[int, int, int], inherited: tuple[int, ...]) -> bool:
    """Run to the end; return whether it had to be killed for its time by the clock."""
    stdin, stdout, stderr = streams
    try:
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=inherited,
            # A worker has one thread, so that nothing can be held that the child would wait for.
            preexec_fn=limits.apply,  # noqa: PLW1509
        )
    except OSError as error:
        raise SandboxError(f"bwrap cannot be started: {error}") from error
    with process:
        try:
            process.wait(timeout=limits.wall_s)
        except subprocess.TimeoutExpired:
            # All that it started dies with it.
            process.kill()
            return True
        except BaseException:
            process.kill()
            raise
    return False


def _reap(pid: int | None) -> None:
    """Wait for the init of the sandbox, dead or dying, which bubblewrap does not wait for; ours if we adopt orphans."""
    due = time.monotonic() + REAP_S
    while pid is not None and time.monotonic() < due:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
        except ChildProcessError:
            return
        time.sleep(0.001)


def _report(status: str) -> dict[str, int]:
    """Read what bubblewrap wrote: the pid of its child, and the exit code once that has ended."""
    report: dict[str, int] = {}
    for line in status.splitlines():
        with contextlib.suppress(ValueError):
            report |= {name: value for name, value in json.loads(line).items() if isinstance(value, int)}
    return report


def _exit_code(report: Mapping[str, int], error: str) -> int:
    """Return the program's exit code; raises SandboxError where it never began or never ended."""
    if "exit-code" in report:
        return report["exit-code"]
    reason = error.strip()[-300:] or "bwrap was killed"
    hint = "; user namespaces may be forbidden here (default Docker, Ubuntu's AppArmor)" if "amespace" in reason else ""
    raise SandboxError(f"bwrap failed: {reason}{hint}")


def _end_of(code: int | None, *, is_flooded: bool) -> End:
    if code is None or code == 128 + signal.SIGXCPU:
        return End.OUT_OF_TIME
    if is_flooded:
        return End.OUT_OF_OUTPUT
    if code == 128 + signal.SIGKILL:
        # The hard limit of CPU time is equal to the soft one, and the kernel may choose its signal.
        return End.OUT_OF_TIME
    if code > 128:
        return End.KILLED
    return End.EXITED if code == 0 else End.FAILED


def _text(descriptor: int, limit: int) -> str:
    return os.pread(descriptor, limit, 0).decode("utf-8", errors="replace")
