"""Who receives a prediction: the fold of the subscriptions.

A `Book` folds one partition of the compacted topic `user.subscriptions`; whatever of a subscriber never
changes is computed once, when its record is read, and not per signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from models.subscription import Subscription
from signals.holdings import account_key
from signals.limits import Limits
from signals.projection import Bounds, Cases, cases


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One (user, account) as the hot path needs it: `key` is the record key, `identity` what stands in its
    signals between delivery id and sequence, `delivery_seed` what `delivery_id` hashes after the signal,
    `account` its name in the holdings.

    `own_bytes` is the size of key and identity. `limits` is None for the many whose action depends on nothing
    but `cases`.
    """

    user_id: str
    tenant_id: str
    account_id: str
    account: str
    key: bytes
    identity: bytes
    own_bytes: int
    delivery_seed: bytes
    cases: Cases
    limits: Limits | None
    entitled_until_ns: int

    @classmethod
    def of(cls, subscription: Subscription) -> Subscriber:
        user_id, account_id = subscription.user_id, subscription.account_id
        account, key = account_key(user_id, account_id), user_id.encode()
        fields = _fields(tenant_id=subscription.tenant_id, user_id=user_id, account_id=account_id)
        identity = f'",{fields},"sequence":'.encode()
        return cls(
            user_id=user_id,
            tenant_id=subscription.tenant_id,
            account_id=account_id,
            account=account,
            key=key,
            identity=identity,
            own_bytes=len(key) + len(identity),
            delivery_seed=f"\x1f{user_id}\x1f{account_id}".encode(),
            cases=cases(Bounds.of(subscription.tier, subscription.risk)),
            limits=Limits.of(account, subscription),
            entitled_until_ns=subscription.entitled_until_ns,
        )


class Book:
    """The subscriptions of one partition, as of `offset` (of the last record applied; -1: none yet)."""

    def __init__(self) -> None:
        self.offset = -1
        self.refused = 0
        self._by_slot: dict[tuple[str, str], dict[tuple[str, str], Subscriber]] = {}
        self._in_order: dict[tuple[str, str], tuple[Subscriber, ...]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_slot.values()))

    def apply(self, key: bytes, value: bytes | None, offset: int) -> bool:
        """Fold one record; a tombstone ends a subscription. False, counted in `refused`, for a record that
        is no subscription or whose key names another one.
        """
        self.offset = offset
        try:
            user_id, account_id, strategy, symbol = _key_parts(key)
            subscription = _subscription(key, value)
        except ValueError:
            self.refused += 1
            return False
        members = self._by_slot.setdefault((strategy, symbol), {})
        self._in_order.pop((strategy, symbol), None)
        if subscription is None:
            members.pop((user_id, account_id), None)
        else:
            members[user_id, account_id] = Subscriber.of(subscription)
        return True

    def subscribers(self, strategy: str, symbol: str, *, at_ns: int) -> Sequence[Subscriber]:
        """Those entitled at `at_ns` (the prediction's `generated_ns`, so that a replay sees the same ones),
        in (user, account) order.
        """
        everybody = self._sorted(strategy, symbol)
        return [one for one in everybody if one.entitled_until_ns > at_ns]

    def _sorted(self, strategy: str, symbol: str) -> tuple[Subscriber, ...]:
        slot = (strategy, symbol)
        if slot not in self._in_order:
            members = self._by_slot.get(slot, {})
            self._in_order[slot] = tuple(members[key] for key in sorted(members))
        return self._in_order[slot]


def _key_parts(key: bytes) -> tuple[str, str, str, str]:
    parts = orjson.loads(key)
    if not (isinstance(parts, list) and len(parts) == 4 and all(isinstance(part, str) for part in parts)):
        raise ValueError(f"key was {key!r}; expected [user, account, strategy, symbol]")
    return parts[0], parts[1], parts[2], parts[3]


def _subscription(key: bytes, value: bytes | None) -> Subscription | None:
    """The subscription of a record, None for a tombstone; ValueError if it is none or has another key."""
    if value is None:
        return None
    subscription = Subscription.from_record(value)
    if subscription.key() != key:
        raise ValueError(f"key was {key!r}, but the value is a subscription of {subscription.key()!r}")
    return subscription


def _fields(**values: str) -> str:
    """JSON members of the values, escaped, without the braces."""
    return orjson.dumps(values).decode()[1:-1]
