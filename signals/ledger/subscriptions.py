"""`user.subscriptions` as the ledger reads it: who was subscribed to what, in which tenant, and when."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import Any, Final

import orjson

from signals.ledger.findings import Findings
from signals.ledger.records import LogEntry, SlotKey, unreadable

GRACE_MS: Final = 1000
"""A subscription change this close to a slot's prediction may count or not: both are right."""

_Key = tuple[str, str, str, str]


class SubscriptionLog:
    """The history of `user.subscriptions`: who was subscribed to what, and when."""

    def __init__(self, findings: Findings | None = None) -> None:
        self._findings = findings or Findings()
        self._history: dict[_Key, list[tuple[int, int]]] = defaultdict(list)
        self._by_series: dict[tuple[str, str], set[_Key]] = defaultdict(set)
        self._tenants: dict[_Key, set[str]] = defaultdict(set)

    def take(self, entry: LogEntry) -> None:
        """Note a change; the entitlement counts in milliseconds of wall time, 0 once ended."""
        try:
            user, account, strategy, symbol = orjson.loads(entry.key)
            value: dict[str, Any] = orjson.loads(entry.value) if entry.value else {"entitled_until_ns": 0}
            until = value["entitled_until_ns"] // 1_000_000
            tenant = value.get("tenant_id")
        except (ValueError, KeyError, TypeError) as error:
            unreadable(entry, self._findings, f"is no subscription: {error!r}")
            return
        key = (user, account, strategy, symbol)
        self._history[key].append((entry.timestamp_ms, until))
        self._by_series[strategy, symbol].add(key)
        if tenant is not None:
            self._tenants[key].add(tenant)

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
