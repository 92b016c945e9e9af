"""What a user wants to receive, and within which bounds."""

from __future__ import annotations

from typing import Annotated

import orjson
from pydantic import Field

from models.base import Frozen
from models.principal import Tier


class RiskSettings(Frozen):
    """The user's own bounds: targets are multiplied by `scale`, then clipped to +/- `max_fraction`."""

    scale: Annotated[float, Field(ge=0, le=10)] = 1.0
    max_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0


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


def subscription_key(user_id: str, account_id: str, strategy: str, symbol: str) -> bytes:
    """JSON array, so that no separator can be forged by an id."""
    return orjson.dumps([user_id, account_id, strategy, symbol])
