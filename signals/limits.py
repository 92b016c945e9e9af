"""Limits that depend on the moment: quiet hours, blocked symbols, how much and how often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from models.subscription import QuietHours, RiskSettings, Subscription
from signals.holdings import Holdings, subscription_key
from signals.projection import Veto


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one subscription; `key` is its name in the holdings."""

    key: str
    symbol: str
    risk: RiskSettings

    @classmethod
    def of(cls, account: str, subscription: Subscription) -> Limits | None:
        """None if none of them is set."""
        risk = subscription.risk
        if not (
            risk.quiet_hours
            or risk.blocked_symbols
            or risk.max_signals_per_minute is not None
            or risk.max_exposure is not None
        ):
            return None
        key = subscription_key(account, subscription.strategy, subscription.symbol)
        return cls(key, subscription.symbol, risk)

    @property
    def rate(self) -> tuple[str, int] | None:
        """The subscription and its limit per minute, if it has one."""
        limit = self.risk.max_signals_per_minute
        return None if limit is None else (self.key, limit)

    def veto(self, holdings: Holdings, *, at_ns: int) -> Veto | None:
        """Why nothing may be asked at this moment, if so."""
        if self.symbol in self.risk.blocked_symbols:
            return Veto("blocked_symbols", f"the user has blocked {self.symbol}")
        if any(_covers(hours, at_ns) for hours in self.risk.quiet_hours):
            return Veto("quiet_hours", "these are the user's quiet hours")
        if self.rate and holdings.full_at(*self.rate, now_ns=at_ns):
            return Veto("max_signals_per_minute", f"{self.rate[1]} signals asked for something in 60 s")
        return None

    def room(self, holdings: Holdings, account: str) -> float:
        """How large this symbol's position may be, given the account's others."""
        most = self.risk.max_exposure
        if most is None:
            return math.inf
        return max(0.0, most - holdings.exposure(account, besides=self.symbol))


def _covers(hours: QuietHours, at_ns: int) -> bool:
    now = datetime.fromtimestamp(at_ns // 10**9, UTC)
    begun = now if now.time() >= hours.start else now - timedelta(days=1)
    if begun.weekday() not in hours.days:
        return False
    if hours.start < hours.end:
        return hours.start <= now.time() < hours.end
    return now.time() >= hours.start or now.time() < hours.end
