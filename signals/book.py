"""Who receives a prediction: the fold of the subscriptions.

A `Book` folds one partition of the compacted topic `user.subscriptions`; whatever of a subscriber does not
change from signal to signal is computed once, when its record is read. An entitlement wins over what the
subscriptions of its user say of tier and end (`docs/decisions/0024`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import orjson

from models.principal import Tier
from models.subscription import ENTITLEMENT_MARK, Entitlement, Subscription
from signals.holdings import account_key
from signals.limits import Limits
from signals.projection import Bounds, Cases, cases

_SUBSCRIPTION_PARTS: Final = 4


class _Address(NamedTuple):
    """What names a subscription within its user."""

    account_id: str
    strategy: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One (user, account) as the hot path needs it: `key` is the record key, `identity` what stands in its
    signals between delivery id and sequence, `delivery_seed` what `delivery_id` hashes after the signal,
    `account` its name in the holdings.

    `own_bytes` is the size of key and identity. `limits` is None for the many whose action depends on nothing
    but `cases`. `own_tier` and `own_until_ns` are what the subscription itself says.
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
    own_tier: Tier
    own_until_ns: int

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
            own_tier=subscription.tier,
            own_until_ns=subscription.entitled_until_ns,
        )

    def entitled(self, known: Entitlement | None) -> Subscriber:
        """The same with tier and end of the entitlement; without one, of the subscription."""
        tier = known.tier if known else self.own_tier
        until_ns = known.entitled_until_ns if known else self.own_until_ns
        bounds = self.cases.flat.bounds
        if (bounds.tier, self.entitled_until_ns) == (tier, until_ns):
            return self
        return replace(self, cases=cases(bounds._replace(tier=tier)), entitled_until_ns=until_ns)


class Book:
    """The subscriptions of one partition, as of `offset` (of the last record applied; -1: none yet)."""

    def __init__(self) -> None:
        self.offset = -1
        self.refused = 0
        self._by_slot: dict[tuple[str, str], dict[tuple[str, str], Subscriber]] = {}
        self._in_order: dict[tuple[str, str], tuple[Subscriber, ...]] = {}
        self._held: defaultdict[str, set[_Address]] = defaultdict(set)
        self._entitled: defaultdict[str, dict[str, Entitlement]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(map(len, self._by_slot.values()))

    def apply(self, key: bytes, value: bytes | None, offset: int) -> bool:
        """Fold one record; a tombstone ends a subscription, or an entitlement. False, counted in `refused`,
        for a record that is neither or whose key names another one.
        """
        self.offset = offset
        try:
            user_id, address = _key_parts(key)
            if address is None:
                self._entitle(user_id, _entitlement(key, value))
            else:
                self._subscribe(user_id, address, _subscription(key, value))
        except ValueError:
            self.refused += 1
            return False
        return True

    def _subscribe(self, user_id: str, address: _Address, wanted: Subscription | None) -> None:
        if wanted is None:
            self._forget(user_id, address)
            return
        one = Subscriber.of(wanted)
        if user_id in self._entitled:
            one = one.entitled(self._entitled[user_id].get(one.tenant_id))
        self._held[user_id].add(address)
        self._put(user_id, address, one)

    def _forget(self, user_id: str, address: _Address) -> None:
        if address in self._held.get(user_id, ()):
            self._held[user_id].remove(address)
            if not self._held[user_id]:
                del self._held[user_id]
            slot = (address.strategy, address.symbol)
            del self._by_slot[slot][user_id, address.account_id]
            self._in_order.pop(slot, None)

    def _put(self, user_id: str, address: _Address, one: Subscriber) -> None:
        slot = (address.strategy, address.symbol)
        self._by_slot.setdefault(slot, {})[user_id, address.account_id] = one
        self._in_order.pop(slot, None)

    def _entitle(self, user_id: str, entitlement: Entitlement | None) -> None:
        """From here on this wins over the user's subscriptions, unless a newer one is known."""
        if entitlement is None:
            self._entitled.pop(user_id, None)
        else:
            known = self._entitled[user_id].get(entitlement.tenant_id)
            if known and known.version > entitlement.version:
                return
            self._entitled[user_id][entitlement.tenant_id] = entitlement
        for address in self._held.get(user_id, ()):
            self._renew(user_id, address)

    def _renew(self, user_id: str, address: _Address) -> None:
        one = self._by_slot[address.strategy, address.symbol][user_id, address.account_id]
        renewed = one.entitled(self._entitled.get(user_id, {}).get(one.tenant_id))
        if renewed is not one:
            self._put(user_id, address, renewed)

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


def _key_parts(key: bytes) -> tuple[str, _Address | None]:
    """The user, and which subscription; None for the user's entitlement. ValueError if it is neither."""
    parts = orjson.loads(key)
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        if len(parts) == _SUBSCRIPTION_PARTS:
            return parts[0], _Address(*parts[1:])
        if parts[1:] == [ENTITLEMENT_MARK]:
            return parts[0], None
    raise ValueError(f"key was {key!r}; expected [user, account, strategy, symbol] or [user, ~entitlement]")


def _entitlement(key: bytes, value: bytes | None) -> Entitlement | None:
    """The entitlement of a record, None for a tombstone; ValueError if it is none or has another key."""
    if value is None:
        return None
    entitlement = Entitlement.from_record(value)
    if entitlement.key() != key:
        raise ValueError(f"key was {key!r}, but the value is an entitlement of {entitlement.user_id!r}")
    return entitlement


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
