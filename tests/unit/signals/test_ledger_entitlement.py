"""The ledger's own reading of entitlements: who received a signal outside one, or missed one inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from messaging.topics import SIGNALS, SUBSCRIPTIONS, partition_of
from serve_app.audit.run_ledger import RunLedger
from signals.ledger import Findings, LogEntry
from tests.unit.signals.recorded import TENANTS, Recorded
from tests.unit.signals.records import NOW_NS

USER, TENANT = "user-0007", TENANTS[7 % 3]
BEFORE_MS = NOW_NS // 1_000_000 - 50_000
SLOT_MS = 10_000
PER_USER = 8


def settled(run: Recorded) -> Findings:
    """The ledger over a recorded run."""
    book = RunLedger(run.due, SIGNALS.partitions)
    for topic, entry in run.entries():
        book.take(topic, entry)
    return book.settled()


def broken(findings: Findings) -> dict[str, int]:
    """The promises that were broken, and how often."""
    return {name: count for name, count in findings.must_be_zero().items() if count}


def entitle(run: Recorded, at_ms: int, value: dict[str, Any] | None = None, **fields: Any) -> None:
    """Write an entitlement of the user, or with the value None and no fields its tombstone."""
    if fields:
        value = {"tenant_id": TENANT, "user_id": USER, "version": 1, "tier": "pro", **fields}
    home = partition_of(USER.encode(), SIGNALS.partitions)
    log = run.logs[SUBSCRIPTIONS.name][home]
    body = None if value is None else orjson.dumps(value)
    log.append(LogEntry(home, log[-1].offset + 1, at_ms, orjson.dumps([USER, "~entitlement"]), body))


def subscribe_anew(run: Recorded, at_ms: int) -> None:
    """The user changes a setting; the gateway writes tier and end of the token again."""
    home = partition_of(USER.encode(), SIGNALS.partitions)
    log = run.logs[SUBSCRIPTIONS.name][home]
    mine = [entry for entry in log if orjson.loads(entry.key)[0] == USER]
    for entry in mine:
        if entry.value:
            log.append(entry._replace(offset=log[-1].offset + 1, timestamp_ms=at_ms))


def _ended(run: Recorded) -> None:
    entitle(run, BEFORE_MS, entitled_until_ns=NOW_NS - 10**10)


def _ended_by_time(run: Recorded) -> None:
    """Of four slots ten seconds apart the last two come after the end."""
    entitle(run, BEFORE_MS, entitled_until_ns=NOW_NS + 15 * 10**9)


def _ended_between(run: Recorded) -> None:
    """The record comes between the second and the third slot."""
    entitle(run, NOW_NS // 1_000_000 + 15_000, entitled_until_ns=0)


def _ended_though_subscribed_anew(run: Recorded) -> None:
    entitle(run, BEFORE_MS - 1, entitled_until_ns=0)
    subscribe_anew(run, BEFORE_MS)


def _older_version_afterwards(run: Recorded) -> None:
    entitle(run, BEFORE_MS, entitled_until_ns=0, version=5)
    entitle(run, BEFORE_MS + 1, entitled_until_ns=2 * NOW_NS, version=4)


@pytest.mark.parametrize(
    ("plant", "deliveries"),
    [
        (_ended, PER_USER),
        (_ended_by_time, PER_USER // 2),
        (_ended_between, PER_USER // 2),
        (_ended_though_subscribed_anew, PER_USER),
        (_older_version_afterwards, PER_USER),
    ],
)
def test_a_delivery_outside_the_entitlement_is_found(
    plant: Callable[[Recorded], None], deliveries: int
) -> None:
    """The log has all signals; those that the user was not entitled to are named, each."""
    run = Recorded()
    plant(run)

    assert broken(settled(run)) == {"not subscribed": deliveries}


def _renewed(run: Recorded) -> None:
    entitle(run, BEFORE_MS, entitled_until_ns=0, version=1)
    entitle(run, BEFORE_MS + 1, entitled_until_ns=2 * NOW_NS, version=2)


def _taken_back(run: Recorded) -> None:
    entitle(run, BEFORE_MS, entitled_until_ns=0)
    entitle(run, BEFORE_MS + 1)


def _of_another_tenant(run: Recorded) -> None:
    entitle(run, BEFORE_MS, entitled_until_ns=0, tenant_id="another")


def _within_the_grace(run: Recorded) -> None:
    """Half a second before the last slot; the hub may or may not have seen it."""
    entitle(run, NOW_NS // 1_000_000 + 3 * SLOT_MS - 500, entitled_until_ns=0)


def _within_the_grace_of_its_end(run: Recorded) -> None:
    entitle(run, BEFORE_MS, entitled_until_ns=NOW_NS + 3 * 10**10 + 5 * 10**8)


@pytest.mark.parametrize(
    "change", [_renewed, _taken_back, _of_another_tenant, _within_the_grace, _within_the_grace_of_its_end]
)
def test_a_delivery_within_it_is_none(change: Callable[[Recorded], None]) -> None:
    """No false alarm, on the same log."""
    run = Recorded()
    change(run)

    findings = settled(run)

    assert findings.clean, findings.examples
    assert findings.delivered == run.deliveries


def test_what_was_due_within_it_and_is_not_there_is_lost() -> None:
    """Also where the subscription itself says that it has ended."""
    run = Recorded()
    home = partition_of(USER.encode(), SIGNALS.partitions)
    log = run.logs[SUBSCRIPTIONS.name][home]
    for at, entry in enumerate(log):
        if orjson.loads(entry.key)[0] == USER:
            own = orjson.loads(entry.value or b"") | {"entitled_until_ns": 0}
            log[at] = entry._replace(value=orjson.dumps(own))
    entitle(run, BEFORE_MS, entitled_until_ns=2 * NOW_NS)
    assert settled(run).clean

    signals, places = run.signals_of(USER)
    del signals[places[-1]]

    assert broken(settled(run)) == {"lost": 1}


@pytest.mark.parametrize(
    "value",
    [
        {"version": 1},
        {"entitled_until_ns": 0, "tenant_id": TENANT},
        {"version": "x", "entitled_until_ns": [], "tenant_id": TENANT},
        [],
        "x",
    ],
)
def test_a_broken_one_is_unreadable_and_changes_nothing(value: Any) -> None:
    """The hub refuses it, too."""
    run = Recorded()
    entitle(run, BEFORE_MS, value)

    assert broken(settled(run)) == {"unreadable": 1}
