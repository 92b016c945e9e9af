"""Takes system calls away from this process, for ever: no file can be opened, no socket, no program started.

A classic BPF program (seccomp(2), `SECCOMP_MODE_FILTER`) that needs no privilege. It lists what is refused
and not what is allowed: what numpy, onnxruntime and Python's own memory management call differs between
versions, what reaches out of the process does not.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from collections.abc import Iterator
from typing import Final, NamedTuple

from models.errors import ConfinementUnavailable

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_SET: Final = 0x45
_RETURN: Final = 0x06
_OFFSET_NUMBER: Final = 0
_OFFSET_ARCH: Final = 4
_OFFSET_FIRST_ARGUMENT: Final = 16
_ALLOW: Final = 0x7FFF0000
_FAIL: Final = 0x00050000
_KILL: Final = 0x80000000
_X32: Final = 0x40000000
"""The same calls under other numbers, which x86-64 still knows."""
_CLONE_THREAD: Final = 0x00010000


class _Machine(NamedTuple):
    """How the kernel calls this architecture, and the column of its numbers below."""

    audit: int
    column: int


_MACHINES: Final = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_DENIED: Final[dict[str, tuple[int, int]]] = {
    # Files; -1 where the architecture has no such call.
    "open": (2, -1),
    "openat": (257, 56),
    "openat2": (437, 437),
    "open_by_handle_at": (304, 265),
    "creat": (85, -1),
    "memfd_create": (319, 279),
    "unlink": (87, -1),
    "unlinkat": (263, 35),
    "rename": (82, -1),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, -1),
    "linkat": (265, 37),
    "symlink": (88, -1),
    "symlinkat": (266, 36),
    "mkdir": (83, -1),
    "mkdirat": (258, 34),
    "chmod": (90, -1),
    "fchmodat": (268, 53),
    "chroot": (161, 51),
    "mount": (165, 40),
    # The network.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    # Other processes, and programs.
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, -1),
    "vfork": (58, -1),
    "kill": (62, 129),
    "tkill": (200, 130),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "setns": (308, 268),
    "unshare": (272, 97),
    # What exploits of kernels begin with.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("first", ctypes.POINTER(_Instruction)))


def check_here() -> None:
    """ConfinementUnavailable where the kernel is not Linux on x86-64 or ARM64."""
    if platform.system() != "Linux" or platform.machine() not in _MACHINES:
        raise ConfinementUnavailable(
            f"a process cannot be confined on {platform.system()} {platform.machine()}; "
            "register models on a hub that runs on Linux on x86-64 or ARM64"
        )


def deny_outside() -> None:
    """From here on calls that reach out of the process fail with EPERM; threads may still be started.

    ConfinementUnavailable where that cannot be had.
    """
    check_here()
    machine = _MACHINES[platform.machine()]
    instructions = [_Instruction(*one) for one in _program(machine)]
    code = (_Instruction * len(instructions))(*instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    refused = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(code), code)), 0, 0
    )
    if refused:
        name = errno.errorcode.get(ctypes.get_errno(), "an error")
        raise ConfinementUnavailable(f"the kernel answered {name} to a seccomp filter")


def _program(machine: _Machine) -> Iterator[tuple[int, int, int, int]]:
    """(code, jump if true, jump if false, operand), in order; jumps count instructions to skip."""
    yield _LOAD, 0, 0, _OFFSET_ARCH
    yield _JUMP_EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _OFFSET_NUMBER
    yield _JUMP_AT_LEAST, 0, 1, _X32
    yield _RETURN, 0, 0, _KILL
    for numbers in _DENIED.values():
        if numbers[machine.column] >= 0:
            yield from _fails(numbers[machine.column], errno.EPERM)
    # Its flags lie in memory, which a filter cannot see; who is told that there is none takes `clone`.
    yield from _fails(_CLONE3[machine.column], errno.ENOSYS)
    yield _JUMP_EQUAL, 0, 3, _CLONE[machine.column]
    yield _LOAD, 0, 0, _OFFSET_FIRST_ARGUMENT
    yield _JUMP_SET, 1, 0, _CLONE_THREAD
    yield _RETURN, 0, 0, _FAIL | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW


def _fails(number: int, code: int) -> Iterator[tuple[int, int, int, int]]:
    yield _JUMP_EQUAL, 0, 1, number
    yield _RETURN, 0, 0, _FAIL | code
