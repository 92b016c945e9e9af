"""Who receives a prediction, and what is left of its action within each user's own bounds.

A `Book` folds one partition of the compacted topic `user.subscriptions`; whatever of a subscriber never
changes is computed once, when its record is read, and not per signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from models.principal import Tier
from models.signal import Kind
from models.subscription import Subscription
from signals.policy import Action, abstain, toward


class Bounds(NamedTuple):
    """The settings that shape an action; users with equal ones share the projected result. A tuple, because
    it is hashed once per signal.
    """

    tier: Tier
    scale: float
    max_fraction: float


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One (user, account) as the hot path needs it: `key` is the record key, `identity` its escaped JSON
    fields, `delivery_seed` what `delivery_id` hashes after the signal.
    """

    user_id: str
    account_id: str
    key: bytes
    identity: str
    delivery_seed: bytes
    bounds: Bounds
    entitled_until_ns: int

    @classmethod
    def of(cls, subscription: Subscription) -> Subscriber:
        user_id, account_id = subscription.user_id, subscription.account_id
        return cls(
            user_id=user_id,
            account_id=account_id,
            key=user_id.encode(),
            identity=_fields(tenant_id=subscription.tenant_id, user_id=user_id, account_id=account_id),
            delivery_seed=f"\x1f{user_id}\x1f{account_id}".encode(),
            bounds=Bounds(subscription.tier, subscription.risk.scale, subscription.risk.max_fraction),
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


@dataclass(frozen=True, slots=True)
class Projected:
    """An action within a user's bounds, and which of them it hit."""

    action: Action
    limits_hit: tuple[str, ...]


def project(wanted: Action, bounds: Bounds) -> Projected:
    """Scale the target by the user's settings and clip it to their maximum; abstain if that leaves none."""
    if wanted.kind is not Kind.ADJUST or wanted.target_fraction is None:
        return Projected(wanted, ())
    scaled = wanted.target_fraction * bounds.scale
    bounded = max(-bounds.max_fraction, min(bounds.max_fraction, scaled))
    limits = ("max_fraction",) if bounded != scaled else ()
    if bounded == 0:
        return Projected(abstain(f"{wanted.reason}; the user's risk settings allow no position"), limits)
    return Projected(toward(bounded, wanted.reason), limits)


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
