"""The fold of a partition of `user.subscriptions`, as those see it who show or change subscriptions.

An entitlement wins over what the subscriptions of its user say of tier and end (`docs/decisions/0024`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

import orjson

from messaging.ports import LogRecord
from models.subscription import ENTITLEMENT_MARK, Entitlement, Subscription

_PARTS: Final = 4


class Address(NamedTuple):
    """What names a subscription within its user."""

    account_id: str
    strategy: str
    symbol: str


class SubscriptionFold:
    """The live subscriptions of one partition up to `position`; `turn` lets one call at a time read on.

    Records that it cannot place, of a later release or of nobody's, are passed over.
    """

    def __init__(self) -> None:
        self.turn: Final = asyncio.Lock()
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.position = 0
        self._by_user: defaultdict[str, dict[Address, Subscription]] = defaultdict(dict)
        self._entitled: defaultdict[str, dict[str, Entitlement]] = defaultdict(dict)
        self._written: dict[str, Entitlement] = {}
        self._of_tenant: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, record: LogRecord) -> None:
        """Fold the next record."""
        try:
            user_id, *rest = orjson.loads(record.key)
            if rest == [ENTITLEMENT_MARK]:
                self._entitle(user_id, record.value)
            elif len(rest) == _PARTS - 1:
                self._subscribe(user_id, Address(*rest), record.value)
        except (ValueError, TypeError):
            return

    def users(self, tenant_id: str) -> Collection[str]:
        """Those who have subscriptions or entitlements of the tenant, or had them."""
        return self._of_tenant.get(tenant_id, frozenset())

    def subscriptions(self, user_id: str) -> Mapping[Address, Subscription]:
        """Those of a user, with tier and end as they count."""
        own = self._by_user.get(user_id, {})
        return {address: self._counting(one) for address, one in own.items()}

    def entitlements(self, tenant_id: str) -> Iterator[Entitlement]:
        """Those written last of the tenant's users: what compaction leaves, also where one before wins."""
        for user_id in self.users(tenant_id):
            one = self._written.get(user_id)
            if one and one.tenant_id == tenant_id:
                yield one

    def _counting(self, one: Subscription) -> Subscription:
        known = self._entitled.get(one.user_id, {}).get(one.tenant_id)
        if known is None:
            return one
        return one.model_copy(update={"tier": known.tier, "entitled_until_ns": known.entitled_until_ns})

    def _subscribe(self, user_id: str, address: Address, value: bytes | None) -> None:
        if value is None:
            self._by_user[user_id].pop(address, None)
            return
        one = Subscription.from_record(value)
        self._by_user[user_id][address] = one
        self._of_tenant[one.tenant_id].add(user_id)

    def _entitle(self, user_id: str, value: bytes | None) -> None:
        if value is None:
            self._entitled.pop(user_id, None)
            self._written.pop(user_id, None)
            return
        one = self._written[user_id] = Entitlement.from_record(value)
        known = self._entitled[user_id].get(one.tenant_id)
        if known is None or known.version <= one.version:
            self._entitled[user_id][one.tenant_id] = one
        self._of_tenant[one.tenant_id].add(user_id)


def address_of(subscription: Subscription) -> Address:
    """What names the subscription within its user."""
    return Address(subscription.account_id, subscription.strategy, subscription.symbol)
