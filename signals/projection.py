"""What is left of a strategy's action within one user's own bounds, and what took the rest away.

Most users of a slot are in the same `Case`, so that its outcome is projected once and shared. Cases that are
used for every signal are interned and compared by identity: a lookup per user costs tens of nanoseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from models.principal import Tier
from models.signal import Kind
from models.subscription import RiskSettings
from signals.policy import Action, abstain, close, toward


class Bounds(NamedTuple):
    """The settings that shape an action."""

    tier: Tier
    scale: float
    max_fraction: float
    per_minute: int | None = None

    @classmethod
    def of(cls, tier: Tier, risk: RiskSettings) -> Bounds:
        return cls(tier, risk.scale, risk.max_fraction, risk.max_signals_per_minute)


class Veto(NamedTuple):
    """Why nothing may be asked: the limit by name, and in words."""

    limit: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Everything an action depends on besides the slot. `side` is the sign of what the account holds of the
    symbol, `room` the exposure that its other symbols leave.
    """

    bounds: Bounds
    side: int = 0
    room: float = math.inf
    veto: Veto | None = None


LONG: Final = 1
SHORT: Final = -1


class Cases(NamedTuple):
    """The three cases of a user without limits, by what the account holds."""

    flat: Case
    long: Case
    short: Case


@cache
def cases(bounds: Bounds) -> Cases:
    """The same objects for equal bounds."""
    return Cases(Case(bounds), Case(bounds, LONG), Case(bounds, SHORT))


@dataclass(frozen=True, slots=True)
class Projected:
    """An action within a user's bounds, and which limits it hit."""

    action: Action
    limits_hit: tuple[str, ...]

    @property
    def holds(self) -> float | None:
        """What the account is to hold from here on; None leaves it as it is."""
        return 0.0 if self.action.kind is Kind.CLOSE else self.action.target_fraction


def project(wanted: Action, case: Case) -> Projected:
    """Scale the target, clip it to what the user allows, and close before opening the other way; abstain if
    nothing may be asked or nothing is left.
    """
    if wanted.kind is not Kind.ADJUST or wanted.target_fraction is None:
        return Projected(wanted, ())
    if case.veto:
        return Projected(abstain(f"{wanted.reason}; {case.veto.reason}"), (case.veto.limit,))
    target, limits = _clipped(wanted.target_fraction * case.bounds.scale, case)
    if target == 0:
        return Projected(abstain(f"{wanted.reason}; the user's risk settings allow no position"), limits)
    if target * case.side < 0:
        return Projected(close(f"{wanted.reason}; the other side is closed first"), (*limits, "close_first"))
    return Projected(toward(target, wanted.reason), limits)


def _clipped(scaled: float, case: Case) -> tuple[float, tuple[str, ...]]:
    bounds = {"max_fraction": case.bounds.max_fraction, "max_exposure": case.room}
    limits = tuple(name for name, bound in bounds.items() if abs(scaled) > bound)
    return math.copysign(min(abs(scaled), *bounds.values()), scaled), limits
