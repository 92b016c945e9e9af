"""What the kernel says of this host's clock, so that an operator can set `clock_error_ms` to the truth."""

from __future__ import annotations

import ctypes
import sys
from typing import ClassVar, Final

_UNSYNCHRONISED: Final = 64
_LONG, _INT = ctypes.c_long, ctypes.c_int


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), as far as it is read; the rest is room for what the kernel writes."""

    _fields_: ClassVar = [
        ("modes", ctypes.c_uint),
        ("offset", _LONG),
        ("freq", _LONG),
        ("maxerror", _LONG),
        ("esterror", _LONG),
        ("status", _INT),
        ("rest", _LONG * 32),
    ]


def clock_says(allowed_ns: int) -> str:
    """How far the clock may be off by the kernel's account, beside what the settings allow for."""
    allowed = f"signals allow for {allowed_ns / 1e6:g} ms"
    found_ms = max_error_ms()
    if found_ms is None:
        return f"not synchronised, as far as the kernel knows; {allowed}"
    warning = "; raise `clock_error_ms`" if found_ms * 1e6 > allowed_ns else ""
    return f"at most {found_ms:.1f} ms off; {allowed}{warning}"


def max_error_ms() -> float | None:
    """The kernel's bound; None where the clock is not disciplined by NTP or PTP, or not on Linux."""
    if sys.platform != "linux":
        return None
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0 or timex.status & _UNSYNCHRONISED:
        return None
    return float(timex.maxerror) / 1e3
