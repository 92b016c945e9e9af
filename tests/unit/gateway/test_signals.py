"""Backfill: a user's own valid signals, however the partition looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from deployments.gateway.backfill import SignalBackfill
from deployments.gateway.subscriptions import partition_of_user
from messaging.ports import Record
from messaging.topics import PREDICTIONS, SIGNAL_STATE, SIGNALS
from models.events import CHECKPOINT_KEY, CLAIM_KEY, Checkpoint, Claim
from models.prediction import Skipped, SkipReason, Slot
from models.signal import Kind, Risk, Signal, Source
from tests.unit.gateway.doubles import STRATEGY, TestHub, principal

URL = "/api/v1/signals"
PARTITION = partition_of_user("alice")


async def test_gives_what_comes_after_a_sequence(hub: TestHub) -> None:
    """In order, page by page, until nothing is left."""
    await write(hub, [claim(), *(signal(number, epoch=0) for number in range(1, 8))])

    first = await page(hub, since_seq=2, limit=3)
    assert [item["sequence"] for item in first["signals"]] == [3, 4, 5]
    assert (first["next_since_seq"], first["complete"]) == (5, True)
    rest = await page(hub, since_seq=5, limit=3)
    assert [item["sequence"] for item in rest["signals"]] == [6, 7]
    assert await page(hub, since_seq=7) == {"signals": [], "next_since_seq": 7, "complete": True}


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
    neighbour = next(f"u{n}" for n in range(1000) if partition_of_user(f"u{n}") == PARTITION)
    await write(
        hub,
        [claim(), signal(1, epoch=0, user_id=neighbour), signal(1, epoch=0, tenant_id="other")],
    )

    assert (await page(hub))["signals"] == []
    theirs = await hub.client.get(URL, headers=hub.auth(neighbour))
    assert [item["user_id"] for item in theirs.json()["signals"]] == [neighbour]


async def test_expired_signals_are_history_and_shown(hub: TestHub) -> None:
    """Backfill tells what was sent; whether to act is the reader's to decide by `expires_ns`."""
    await write(hub, [claim(), signal(1, epoch=0)])

    assert (await page(hub))["signals"][0]["expires_ns"] < hub.clock()


async def test_a_bounded_scan_says_that_older_ones_may_be_missing(hub: TestHub) -> None:
    """Of the last records only: incomplete unless they reach back to what was asked for."""
    await write(hub, [claim(), *(signal(number, epoch=0) for number in range(1, 11))])
    await write_checkpoint(hub, claims=(0,), position=1)
    backfill = SignalBackfill(hub.bus, max_scan=4)

    old = await backfill.since(principal(), 2, limit=10)
    assert ([item.sequence for item in old.signals], old.complete) == ([7, 8, 9, 10], False)
    recent = await backfill.since(principal(), 6, limit=10)
    assert ([item.sequence for item in recent.signals], recent.complete) == ([7, 8, 9, 10], True)


async def test_a_scan_that_starts_midway_knows_the_claims_before_it(hub: TestHub) -> None:
    """Without the checkpoint's claims the fenced writer's late record would look valid."""
    await write(hub, [claim(), signal(1, epoch=0), claim(), signal(2, epoch=0), signal(2, epoch=2)])
    await write_checkpoint(hub, claims=(0, 2), position=3)

    found = await SignalBackfill(hub.bus, max_scan=2).since(principal(), 0, limit=10)
    assert [item.epoch for item in found.signals] == [2]


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


async def write_checkpoint(hub: TestHub, *, claims: tuple[int, ...], position: int) -> None:
    """Append a checkpoint of alice's partition."""
    checkpoint = Checkpoint(
        epoch=claims[-1],
        position=position,
        claims=claims,
        cursor={},
        sequences={},
        series=(),
        written_ns=1,
    )
    record = Record(CHECKPOINT_KEY, checkpoint.model_dump_json(by_alias=True).encode())
    producer = await hub.bus.producer("test")
    await producer.append(SIGNAL_STATE.name, PARTITION, [record], timeout_s=1)


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
