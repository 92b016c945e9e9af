"""What a user wants to receive, and within which bounds."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import Field, model_validator

from models.base import Frozen
from models.principal import Tier
from models.strategy import Symbol

ENTITLEMENT_MARK: Final = "~entitlement"
"""Stands in a key of `user.subscriptions` where a subscription's has account, strategy and symbol."""


class QuietHours(Frozen):
    """A span of wall time in UTC, `start` to before `end`, on the weekdays it starts on (0 is Monday).

    One that ends before it starts runs past midnight.
    """

    start: time
    end: time
    days: Annotated[frozenset[Annotated[int, Field(ge=0, le=6)]], Field(min_length=1)] = frozenset(range(7))

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same; to be left alone all day, unsubscribe")
        if self.start.tzinfo or self.end.tzinfo:
            raise ValueError("times carry no zone; they are UTC")
        return self


class RiskSettings(Frozen):
    """The user's own bounds: targets are multiplied by `scale`, then clipped to +/- `max_fraction`.

    `max_exposure`: the sizes of what the account is asked to hold, summed over symbols, stay below it.
    `max_signals_per_minute`: so many in any 60 s ask for something. In `quiet_hours` and for
    `blocked_symbols` none does. Whatever a bound takes away, the signal says so.
    """

    scale: Annotated[float, Field(ge=0, le=10)] = 1.0
    max_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    max_exposure: Annotated[float, Field(ge=0, le=100)] | None = None
    max_signals_per_minute: Annotated[int, Field(ge=1, le=600)] | None = None
    quiet_hours: Annotated[tuple[QuietHours, ...], Field(max_length=21)] = ()
    blocked_symbols: Annotated[frozenset[Symbol], Field(max_length=200)] = frozenset()


class Subscription(Frozen):
    """One user's (account's) subscription to one strategy on one symbol; value of `user.subscriptions`.

    `tier` and `entitled_until_ns` are written by the gateway from the verified token, never by the user.
    """

    user_id: str
    tenant_id: str
    account_id: str
    strategy: str
    symbol: str
    tier: Tier
    entitled_until_ns: int
    risk: RiskSettings = RiskSettings()

    def key(self) -> bytes:
        """The compaction key: one record per (user, account, strategy, symbol)."""
        return subscription_key(self.user_id, self.account_id, self.strategy, self.symbol)


class Entitlement(Frozen):
    """Tier and end of all that a user receives, as the tenant's are: wins over what the user's subscriptions
    say, whichever was written later. In the same topic and partition as those, by the control plane alone.

    Of two the higher `version`, the tenant's, wins. It holds for subscriptions of the same tenant alone; a
    tombstone ends it, and the subscriptions count by themselves again.
    """

    schema_: Literal["hub.entitlement/1"] = Field("hub.entitlement/1", alias="schema")
    tenant_id: str
    user_id: str
    tier: Tier
    entitled_until_ns: int
    version: int

    def key(self) -> bytes:
        """The compaction key: one record per user."""
        return entitlement_key(self.user_id)


def entitlement_key(user_id: str) -> bytes:
    """Two parts, where a subscription's key has four."""
    return orjson.dumps([user_id, ENTITLEMENT_MARK])


def subscription_key(user_id: str, account_id: str, strategy: str, symbol: str) -> bytes:
    """JSON array, so that no separator can be forged by an id."""
    return orjson.dumps([user_id, account_id, strategy, symbol])
