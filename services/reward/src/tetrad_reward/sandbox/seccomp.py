"""The system calls that a sandboxed program may not make, as a classic BPF program. Pure.

A deny-list on top of bubblewrap's namespaces. No new process: RLIMIT_NPROC does not bind root, and a program that
cannot fork can be no fork bomb. Threads are allowed; each takes its stack out of the address space.
"""

import errno
import platform
import struct
from collections.abc import Mapping
from typing import Final

# struct seccomp_data: the number of the call, the architecture, instruction pointer, arguments of 64 bits each.
OFFSET_NUMBER: Final = 0
OFFSET_ARCHITECTURE: Final = 4
OFFSET_FIRST_ARGUMENT: Final = 16
LOAD_WORD, JUMP_EQUAL, JUMP_NOT_BELOW, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
CLONE_THREAD: Final = 0x00010000
# On x86-64, numbers from here on are those of the x32 interface, which would pass by the list.
X32_BIT: Final = 0x40000000

DENIED: Final = (
    *("ptrace", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "perf_event_open"),
    *("keyctl", "add_key", "request_key", "userfaultfd", "process_vm_readv", "process_vm_writev", "socket"),
    *("io_uring_setup", "kexec_load", "init_module", "finit_module", "delete_module", "open_by_handle_at"),
    *("fsopen", "fsmount", "move_mount", "open_tree", "fork", "vfork"),
)
X86_64: Final[Mapping[str, int]] = {
    "socket": 41,
    "clone": 56,
    "fork": 57,
    "vfork": 58,
    "ptrace": 101,
    "pivot_root": 155,
    "chroot": 161,
    "mount": 165,
    "umount2": 166,
    "init_module": 175,
    "delete_module": 176,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "finit_module": 313,
    "bpf": 321,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "clone3": 435,
}
# fork and vfork are x86-64's alone.
AARCH64: Final[Mapping[str, int]] = {
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "chroot": 51,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "ptrace": 117,
    "socket": 198,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "clone": 220,
    "perf_event_open": 241,
    "open_by_handle_at": 265,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "finit_module": 273,
    "bpf": 280,
    "userfaultfd": 282,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "clone3": 435,
}
ARCHITECTURES: Final[Mapping[str, tuple[int, Mapping[str, int]]]] = {
    "x86_64": (0xC000003E, X86_64),
    "aarch64": (0xC00000B7, AARCH64),
}


def filter_program(machine: str = platform.machine()) -> bytes:
    """Return the filter for bubblewrap's `--seccomp`; raises ValueError for an architecture without a table."""
    if machine not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"no table of system calls for {machine}; the sandbox is made for {known}")
    architecture, numbers = ARCHITECTURES[machine]
    lines = [
        _line(LOAD_WORD, OFFSET_ARCHITECTURE),
        _line(JUMP_EQUAL, architecture, if_so=1),
        _line(RETURN, KILL),
        _line(LOAD_WORD, OFFSET_NUMBER),
        *_refuse(JUMP_NOT_BELOW, X32_BIT, errno.EPERM),
        # glibc then falls back to clone, whose flags can be read.
        *_refuse(JUMP_EQUAL, numbers["clone3"], errno.ENOSYS),
    ]
    for name in DENIED:
        if name in numbers:
            lines += _refuse(JUMP_EQUAL, numbers[name], errno.EPERM)
    lines += [
        _line(JUMP_EQUAL, numbers["clone"], if_so=1),
        _line(RETURN, ALLOW),
        _line(LOAD_WORD, OFFSET_FIRST_ARGUMENT),
        _line(JUMP_ANY_BIT, CLONE_THREAD, if_not=1),
        _line(RETURN, ALLOW),
        _line(RETURN, ERRNO | errno.EPERM),
    ]
    return b"".join(lines)


def _refuse(jump: int, operand: int, code: int) -> list[bytes]:
    return [_line(jump, operand, if_not=1), _line(RETURN, ERRNO | code)]


def _line(code: int, operand: int, *, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, operand)
