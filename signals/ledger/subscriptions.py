"""`user.subscriptions` as the ledger reads it: who was subscribed to what, in which tenant, and when."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import Any, Final, NamedTuple

import orjson

from signals.ledger.findings import Findings
from signals.ledger.records import LogEntry, SlotKey, unreadable

GRACE_MS: Final = 1000
"""A subscription change this close to a slot's prediction may count or not: both are right."""
_ENTITLEMENT: Final = "~entitlement"
_ENDED_MS: Final = 0

_Key = tuple[str, str, str, str]


class _Own(NamedTuple):
    """What a subscription itself says."""

    tenant: str | None
    until_ms: int


class _Entitled(NamedTuple):
    """What a user of a tenant is entitled to, whatever the subscriptions say."""

    version: int
    until_ms: int


class SubscriptionLog:
    """The history of `user.subscriptions`: who was subscribed to what, and until when it counted.

    An entitlement decides over the subscriptions of its user and tenant, also over those that come after it
    in the log; of two the higher version does.
    """

    def __init__(self, findings: Findings | None = None) -> None:
        self._findings = findings or Findings()
        self._history: dict[_Key, list[tuple[int, int]]] = defaultdict(list)
        self._by_series: dict[tuple[str, str], set[_Key]] = defaultdict(set)
        self._tenants: dict[_Key, set[str]] = defaultdict(set)
        self._own: dict[str, dict[_Key, _Own]] = defaultdict(dict)
        self._entitled: dict[str, dict[str, _Entitled]] = defaultdict(dict)

    def take(self, entry: LogEntry) -> None:
        """Note a change; the entitlement counts in milliseconds of wall time, 0 once ended."""
        try:
            user, *rest = orjson.loads(entry.key)
            value: dict[str, Any] | None = orjson.loads(entry.value) if entry.value else None
            if rest == [_ENTITLEMENT]:
                self._entitle(user, value)
                changed = list(self._own[user])
            else:
                account, strategy, symbol = rest
                changed = [(user, account, strategy, symbol)]
                self._subscribe(changed[0], value)
        except (ValueError, KeyError, TypeError) as error:
            unreadable(entry, self._findings, f"is no subscription: {error!r}")
            return
        for key in changed:
            self._history[key].append((entry.timestamp_ms, self._until_ms(key)))

    def _subscribe(self, key: _Key, value: dict[str, Any] | None) -> None:
        if value is None:
            self._own[key[0]].pop(key, None)
            return
        until_ms = value["entitled_until_ns"] // 1_000_000
        own = self._own[key[0]][key] = _Own(value.get("tenant_id"), until_ms)
        self._by_series[key[2:]].add(key)
        if own.tenant is not None:
            self._tenants[key].add(own.tenant)

    def _entitle(self, user: str, value: dict[str, Any] | None) -> None:
        if value is None:
            self._entitled.pop(user, None)
            return
        new = _Entitled(value["version"], value["entitled_until_ns"] // 1_000_000)
        known = self._entitled[user].get(value["tenant_id"])
        if known is None or known.version <= new.version:
            self._entitled[user][value["tenant_id"]] = new

    def _until_ms(self, key: _Key) -> int:
        """When the subscription ends as of the records taken so far."""
        own = self._own[key[0]].get(key)
        if own is None:
            return _ENDED_MS
        entitled = self._entitled[key[0]].get(own.tenant or "")
        return entitled.until_ms if entitled else own.until_ms

    def tenants(self, slot: SlotKey, owner: tuple[str, str]) -> set[str]:
        """Every tenant under which the owner has subscribed to the slot's series."""
        return self._tenants.get((*owner, slot.strategy, slot.symbol), set())

    def owed(self, slot: SlotKey, at_ms: int) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """(user, account) pairs that must receive the slot predicted at `at_ms`, and those that may."""
        must, may = set(), set()
        for key in self._by_series.get((slot.strategy, slot.symbol), ()):
            states = self._states(key, at_ms)
            if all(states):
                must.add(key[:2])
            elif any(states):
                may.add(key[:2])
        return must, may

    def _states(self, key: _Key, at_ms: int) -> list[bool]:
        """Whether subscribed at the start of the grace time, and after each change within it."""
        history = self._history[key]
        if len(history) == 1 and history[0][0] <= at_ms - GRACE_MS:
            return [at_ms + GRACE_MS < history[0][1], at_ms - GRACE_MS < history[0][1]]
        first = bisect_right(history, (at_ms - GRACE_MS, 1 << 62))
        last = bisect_right(history, (at_ms + GRACE_MS, 1 << 62))
        untils = [history[first - 1][1] if first else 0, *(until for _, until in history[first:last])]
        return [moment < until for until in untils for moment in (at_ms - GRACE_MS, at_ms + GRACE_MS)]
