"""What of a signal the rules look at."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from models.base import Frozen
from models.signal import Source
from signals.holdings import Asked, account_key, asks, subscription_key
from signals.reader.standing import Series


class RiskHead(Frozen):
    """Of a signal's `risk`, what the rules look at."""

    model_config = ConfigDict(strict=True)

    per_minute: int | None = None


class SignalHead(Frozen):
    """The fields of a signal that the rules look at; a third of the cost of reading all of it."""

    model_config = ConfigDict(strict=True)

    schema_: Literal["hub.signal/1"] = Field(alias="schema")
    signal_id: str
    strategy: str
    symbol: str
    horizon_ms: int
    bar_close_ms: int
    generated_ns: int
    expires_ns: int
    clock_error_ns: int
    source: Source
    epoch: int
    part: tuple[int, int]
    subscription_offset: int
    delivery_id: str
    tenant_id: str
    user_id: str
    account_id: str
    sequence: int
    kind: str
    target_fraction: float | None
    risk: RiskHead

    @property
    def series(self) -> Series:
        return self.strategy, self.symbol, self.horizon_ms

    @property
    def asked(self) -> Asked | None:
        """What the account is to hold from here on; None if nothing is asked."""
        if not asks(self.kind):
            return None
        account, limit = account_key(self.user_id, self.account_id), self.risk.per_minute
        limited = [(subscription_key(account, self.strategy, self.symbol), limit)] if limit else []
        return Asked(self.symbol, {account: self.target_fraction or 0.0}, limited)
