"""Gives up the rights of this process, before it looks at bytes from a stranger."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

from inference.confined.limits import Limits
from inference.confined.seccomp import deny_outside

_NOBODY: Final = 65534
_PR_SET_PDEATHSIG: Final = 1
_VERDICT_BYTES: Final = 1 << 20


def enter(limits: Limits) -> None:
    """Nobody's process, behind everybody else in the queue for processors; with bounds on memory, time and
    output, without files, network and other processes. There is no way back.

    Raises ConfinementUnavailable where a part of that cannot be had.
    """
    _yield_to_all()
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_DATA, limits.memory_bytes)
    _bound(resource.RLIMIT_CPU, limits.cpu_s)
    _bound(resource.RLIMIT_FSIZE, _VERDICT_BYTES)
    _become_nobody()
    _die_with_parent()  # a change of user would forget it
    deny_outside()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _yield_to_all() -> None:
    """The idle class: runs when nobody else wants the processor."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _bound(what: int, most: int) -> None:
    resource.setrlimit(what, (most, most))


def _become_nobody() -> None:
    """Only root can; anybody else already is someone with no more rights than the hub has."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
