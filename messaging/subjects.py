"""The NATS contract as data: subjects, the JetStream streams over them, and the escaping of tokens.

Requests live under `rpc.`, outside every stream: a stream answers requests on its subjects itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from models.errors import BadValue
from models.task import WINDOW

_UNSAFE: Final = re.compile(r"[\s*>\x00-\x1f]")

TICKS_STREAM: Final = "HUB_TICKS"
BARS_STREAM: Final = "HUB_BARS"
CLOCK_SUBJECT: Final = "hub.v1.market.clock"
ALL_TICKS: Final = "hub.v1.market.*.tick"
HALT_SUBJECT: Final = "hub.v1.control.halt"
ALL_BARS: Final = "hub.v1.market.*.bar.*"
ALL_HEALTH: Final = "hub.v1.health.*"

TICKS_KEPT_S: Final = 600
BARS_KEPT: Final = 2 * WINDOW
"""Bars kept per subject: a window and as much again, so that a reader never races the oldest away."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject pattern; `stream` is the JetStream stream that keeps it, None for fire and forget."""

    pattern: str
    domain: str
    stream: str | None
    purpose: str


SUBJECTS: Final = (
    Subject(ALL_TICKS, "market", TICKS_STREAM, "quotes of one symbol"),
    Subject(CLOCK_SUBJECT, "market", TICKS_STREAM, "market time: everything before it has been sent"),
    Subject(ALL_BARS, "market", BARS_STREAM, "bars of one symbol and width, for windows"),
    Subject(ALL_HEALTH, "health", None, "a service's sign of life"),
    Subject(HALT_SUBJECT, "control", None, "halts, told sooner than `hub.control` can; never a resumption"),
)


def token(name: str) -> str:
    """One subject token of a name: `.` separates tokens, so `EURUSD.pro` becomes `EURUSD_pro`.

    Raises BadValue for an empty name, wildcards and white space.
    """
    if not name or _UNSAFE.search(name):
        raise BadValue(f"subject token was {name!r}; expected text without spaces, `*` and `>`")
    return name.replace(".", "_")


def tick_subject(symbol: str) -> str:
    """Where the ticks of a symbol are published."""
    return f"hub.v1.market.{token(symbol)}.tick"


def bar_subject(symbol: str, bar_ms: int) -> str:
    """Where the bars of a symbol and width are kept."""
    return f"hub.v1.market.{token(symbol)}.bar.{bar_ms}"


def health_subject(service: str) -> str:
    """Where a service gives its sign of life."""
    return f"hub.v1.health.{token(service)}"
