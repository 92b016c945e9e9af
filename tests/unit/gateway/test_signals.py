"""Backfill: a user's own valid signals, however the partition looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from deployments.front.subscriptions import partition_of_user
from deployments.front.user_signals import UserSignals
from deployments.gateway.backfill import SignalBackfill
from messaging.marks import SignalMarks
from messaging.ports import Record
from messaging.topics import PREDICTIONS, SIGNALS
from models.events import CLAIM_KEY, Claim
from models.prediction import Skipped, SkipReason, Slot
from models.signal import Kind, Risk, Signal, Source
from tests.unit.gateway.doubles import STRATEGY, TestHub, principal

URL = "/api/v1/signals"
PARTITION = partition_of_user("alice")
NEIGHBOUR = next(f"u{n}" for n in range(1000) if partition_of_user(f"u{n}") == PARTITION)


async def test_gives_what_comes_after_a_sequence(hub: TestHub) -> None:
    """In order, page by page, until nothing is left."""
    await write(hub, [claim(), *(signal(number, epoch=0) for number in range(1, 8))])

    first = await page(hub, since_seq=2, limit=3)
    assert [item["sequence"] for item in first["signals"]] == [3, 4, 5]
    assert (first["next_since_seq"], first["complete"]) == (5, True)
    rest = await page(hub, since_seq=5, limit=3)
    assert [item["sequence"] for item in rest["signals"]] == [6, 7]
    assert await page(hub, since_seq=7) == {
        "signals": [],
        "next_since_seq": 7,
        "complete": True,
        "next_cursor": None,
    }


async def test_passes_over_what_is_void_or_repeated(hub: TestHub) -> None:
    """A fenced writer's records and a second copy never reach the caller."""
    await write(
        hub,
        [
            claim(),
            signal(1, epoch=0),
            claim(),
            signal(2, epoch=0, reason="void"),
            signal(2, epoch=2),
            signal(2, epoch=2),
            signal(3, epoch=2),
        ],
    )

    found = (await page(hub))["signals"]
    assert [(item["sequence"], item["reason"]) for item in found] == [(1, "test"), (2, "test"), (3, "test")]


async def test_shows_nothing_of_others(hub: TestHub) -> None:
    """Not another user of the partition, not the same user id in another tenant."""
    await write(
        hub,
        [claim(), signal(1, epoch=0, user_id=NEIGHBOUR), signal(1, epoch=0, tenant_id="other")],
    )

    assert (await page(hub))["signals"] == []
    theirs = await hub.client.get(URL, headers=hub.auth(NEIGHBOUR))
    assert [item["user_id"] for item in theirs.json()["signals"]] == [NEIGHBOUR]


async def test_expired_signals_are_history_and_shown(hub: TestHub) -> None:
    """Backfill tells what was sent; whether to act is the reader's to decide by `expires_ns`."""
    await write(hub, [claim(), signal(1, epoch=0)])

    assert (await page(hub))["signals"][0]["expires_ns"] < hub.clock()


async def test_a_page_that_ends_before_the_log_names_where_to_go_on(hub: TestHub) -> None:
    """Pages are bounded pieces of the log: `next_cursor` leads through all of them, even empty ones."""
    others = [signal(number, epoch=0, user_id=NEIGHBOUR) for number in range(1, 11)]
    await write(hub, [claim(), *others, signal(1, epoch=0), *others, signal(2, epoch=0)])
    backfill = SignalBackfill(hub.bus, UserSignals(hub.bus, SignalMarks(hub.bus), max_scan=4))

    found, since, cursor, pages = [], 0, None, 0
    while pages == 0 or cursor:
        read = await backfill.since(principal(), since, limit=10, cursor=cursor)
        found += [item.sequence for item in read.signals]
        since, cursor, pages = read.next_since_seq, read.next_cursor, pages + 1

    assert (found, pages) == ([1, 2], 6)


@pytest.mark.parametrize("cursor", ["x", "1", "-1.0", "1.2.3", "1.-", "\N{SUPERSCRIPT TWO}.1"])
async def test_a_made_up_cursor_is_refused_by_name(hub: TestHub, cursor: str) -> None:
    """422, and not a search from somewhere."""
    answer = await hub.client.get(URL, params={"cursor": cursor}, headers=hub.auth())

    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


async def test_explains_a_delivery_by_its_prediction(hub: TestHub) -> None:
    """The signal and the record of `hub.predictions` it names; for its owner only."""
    await write(hub, [claim(), signal(1, epoch=0)])
    producer = await hub.bus.producer("test")
    for number in range(2):
        skipped = Record(b"EURUSD", prediction(number).model_dump_json(by_alias=True).encode())
        await producer.append(PREDICTIONS.name, 3, [skipped], timeout_s=1)

    url = f"{URL}/delivery-1/explain"
    mine = await hub.client.get(url, headers=hub.auth())
    assert mine.json()["signal"]["delivery_id"] == "delivery-1"
    assert mine.json()["prediction"]["detail"] == "prediction 1"
    foreign = await hub.client.get(url, headers=hub.auth("bob"))
    absent = await hub.client.get(f"{URL}/delivery-9/explain", headers=hub.auth())
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.content == absent.content


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since_seq=-1", "since_seq"),
        ("since_seq=x", "since_seq"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
    ],
)
async def test_a_bad_query_is_named(hub: TestHub, query: str, field: str) -> None:
    """422 with the parameter."""
    answer = await hub.client.get(f"{URL}?{query}", headers=hub.auth())

    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def page(hub: TestHub, **query: int) -> dict[str, Any]:
    """Ask as alice."""
    answer = await hub.client.get(URL, params=query, headers=hub.auth())
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


async def write(hub: TestHub, records: Sequence[Record]) -> None:
    """Append to alice's partition."""
    producer = await hub.bus.producer("test")
    await producer.append(SIGNALS.name, PARTITION, records, timeout_s=1)


def claim() -> Record:
    """An owner's claim."""
    return Record(
        CLAIM_KEY, Claim(owner="w", nonce="n", claimed_ns=1).model_dump_json(by_alias=True).encode()
    )


def signal(
    number: int, *, epoch: int, user_id: str = "alice", tenant_id: str = "acme", reason: str = "test"
) -> Record:
    """An abstain with this sequence, for the bar of the same number."""
    made = Signal(
        signal_id=f"signal-{number}",
        strategy=STRATEGY.ref,
        symbol="EURUSD",
        bar_ms=10_000,
        horizon_ms=60_000,
        bar_close_ms=10_000 * number,
        asof_ms=10_000 * number,
        generated_ns=1,
        expires_ns=2,
        clock_error_ns=0,
        forecast=None,
        reference=None,
        lineage=None,
        source=Source(partition=3, offset=number, epoch=0),
        stages={},
        traceparent="",
        epoch=epoch,
        part=(1, 1),
        subscription_offset=0,
        projected_ns=1,
        delivery_id=f"delivery-{number}",
        tenant_id=tenant_id,
        user_id=user_id,
        account_id="default",
        sequence=number,
        kind=Kind.ABSTAIN,
        direction=0,
        target_fraction=None,
        reason=reason,
        risk=Risk(tier="pro", scale=1.0),
    )
    return Record(user_id.encode(), made.model_dump_json(by_alias=True).encode())


def prediction(number: int) -> Skipped:
    """A record of `hub.predictions`."""
    return Skipped(
        epoch=0,
        slot=Slot(
            signal_id=f"signal-{number}",
            strategy=STRATEGY.ref,
            symbol="EURUSD",
            bar_ms=10_000,
            horizon_ms=60_000,
            bar_close_ms=10_000 * number,
        ),
        asof_ms=1,
        generated_ns=1,
        expires_ns=2,
        stages={},
        traceparent="",
        reason=SkipReason.BEHIND,
        detail=f"prediction {number}",
    )
