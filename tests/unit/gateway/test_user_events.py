"""User events: saved with the identity of the token, and read back by their user alone, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest

from deployments.gateway.event_intake import NewEvent
from deployments.gateway.user_events import SETTLE_MS, UserEvents
from messaging.event_marks import EventMarks
from messaging.memory import MemoryBus
from messaging.ports import LogRecord, Record
from messaging.publisher import Place, Publisher, PublisherConfig, QueueLimits
from messaging.topics import EVENT_MARKS, USER_EVENTS, partition_of
from models.errors import AppendRefused, AppendUnknown, QueueFull
from models.user_event import (
    EVENT_BLOCK,
    EVENT_KINDS,
    DataType,
    EventMark,
    UserEvent,
    event_mark_key,
)
from tests.unit.gateway.doubles import TestHub, make_hub, principal

COMMANDS = "/api/v1/events/commands"
ORDER = {"account_id": "a1", "command_id": "c1", "symbol": "EURUSD.pro", "side": "buy", "volume": 0.1}
TRADE = {"account_id": "a1", "ticket": 7, "symbol": "EURUSD.pro", "side": "sell", "volume": 1.0}
BODIES: dict[DataType, tuple[str, dict[str, Any]]] = {
    DataType.AUTH: ("login", {"method": "password"}),
    DataType.SETTINGS: ("settings_saved", {"document": "ui", "values": {"dark": True, "zoom": 1.5}}),
    DataType.COMMANDS: ("place_order", ORDER),
    DataType.TRADES: ("opened", TRADE | {"profit": "-12.50", "currency": "USD"}),
    DataType.MT5_STATUS: ("status", {"account_id": "a1", "connected": True, "balance": "10000.00"}),
    DataType.RISK_ALERTS: ("stop_out", {"severity": "critical", "rule": "margin", "value": 48.5}),
    DataType.TRANSACTIONS: (
        "deposit",
        {"account_id": "a1", "reference": "r1", "amount": "100.00", "currency": "EUR"},
    ),
    DataType.BACKTESTS: (
        "finished",
        {
            "backtest_id": "b1",
            "strategy": "momentum",
            "symbols": ["XAUUSD."],
            "from_ns": 1,
            "to_ns": 2,
            "results": {"sharpe": 1.1},
        },
    ),
}
SERVICE: dict[str, Any] = {"roles": ["service"]}
HOME = partition_of(b"alice", EVENT_MARKS.partitions)


def order(**facts: Any) -> dict[str, Any]:
    """A valid event of a user's own."""
    return {"type": "place_order", "body": ORDER} | facts


async def saved(hub: TestHub, data_type: str = "commands", **facts: Any) -> dict[str, Any]:
    """Alice's event, by HTTP."""
    answer = await hub.client.post(f"/api/v1/events/{data_type}", json=order(**facts), headers=hub.auth())
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def page_of(hub: TestHub, **query: Any) -> dict[str, Any]:
    """A page of alice's commands."""
    answer = await hub.client.get(COMMANDS, params=query, headers=hub.auth())
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def written(hub: TestHub, topic: str = "user.commands") -> list[LogRecord]:
    """What is in alice's partition."""
    return hub.log.partition(topic, HOME).records


def land(hub: TestHub, *records: Record, at_ms: int | None = None) -> None:
    """Write past the hub, as another process would."""
    hub.log.partition("user.commands", HOME).land(records, at_ms or hub.clock() // 1_000_000)


def event(event_id: str = "event-01", *, user_id: str = "alice", tenant_id: str = "acme") -> UserEvent:
    """An event as the log holds it."""
    return UserEvent(
        event_id=event_id,
        tenant_id=tenant_id,
        user_id=user_id,
        type="place_order",
        occurred_ns=1,
        at_ns=1,
        body=ORDER,
    )


def record_of(found: UserEvent, *, key: str = "alice") -> Record:
    """It, with a key."""
    return Record(key.encode(), found.model_dump_json(by_alias=True).encode())


def land_mark(hub: TestHub, offset: int) -> None:
    """Mark a block of alice's commands, as another process would."""
    mark = EventMark(user_id="alice", topic="user.commands", offset=offset)
    record = Record(
        event_mark_key("alice", "user.commands", offset), mark.model_dump_json(by_alias=True).encode()
    )
    hub.log.partition(EVENT_MARKS.name, HOME).land([record], 0)


def test_the_table_names_the_founding_topics() -> None:
    """Each once, all with one partition per user; a compacted one has a key that says more than the user."""
    topics = {topic.name: topic for topic in USER_EVENTS}

    assert {kind.topic for kind in EVENT_KINDS.values()} == set(topics)
    assert {topic.partitions for topic in topics.values()} == {EVENT_MARKS.partitions}
    for kind in EVENT_KINDS.values():
        assert ("compact" in topics[kind.topic].policy["cleanup.policy"]) == (kind.part is not None)


@pytest.mark.parametrize("data_type", DataType)
async def test_every_kind_is_saved_and_read_back(hub: TestHub, data_type: DataType) -> None:
    """A service writes about alice; alice reads it, with nothing but what was said."""
    kind, body = BODIES[data_type]
    sent = {"type": kind, "body": body, "user_id": "alice"}
    answer = await hub.client.post(
        f"/api/v1/events/{data_type}", json=sent, headers=hub.auth("svc", **SERVICE)
    )
    assert (answer.status_code, answer.json()["offset"]) == (201, 0), answer.text

    (record,) = written(hub, EVENT_KINDS[data_type].topic)
    found = UserEvent.from_record(record.value or b"")
    assert (found.user_id, found.tenant_id, found.type, found.body) == ("alice", "acme", kind, body)
    assert record.key == EVENT_KINDS[data_type].key(found)
    (read,) = (await hub.client.get(f"/api/v1/events/{data_type}", headers=hub.auth())).json()["events"]
    assert read == found.model_dump(by_alias=True)


@pytest.mark.parametrize("data_type", DataType)
async def test_a_user_writes_only_what_is_its_own_to_say(hub: TestHub, data_type: DataType) -> None:
    """Commands, settings and backtests; never logins, trades, alerts or money."""
    kind, body = BODIES[data_type]
    answer = await hub.client.post(
        f"/api/v1/events/{data_type}", json={"type": kind, "body": body}, headers=hub.auth()
    )

    own = data_type in {DataType.COMMANDS, DataType.SETTINGS, DataType.BACKTESTS}
    assert answer.status_code == (201 if own else 403)
    assert len(written(hub, EVENT_KINDS[data_type].topic)) == own


@pytest.mark.parametrize(
    ("path", "sent", "status", "field"),
    [
        ("user.signals", order(), 422, "data_type"),
        ("signals", order(), 422, "data_type"),
        ("commands", order(type="opened"), 422, "type"),
        ("commands", order(body=ORDER | {"symbol": "x" * 1_000_000}), 422, "body.symbol"),
        ("commands", order(body=ORDER | {"comment": "x" * 1_000_000}), 422, "body.comment"),
        ("commands", order(body=ORDER | {"volume": -1}), 422, "body.volume"),
        ("commands", order(body=ORDER | {"volume": "NaN"}), 422, "body.volume"),
        ("commands", order(body=ORDER | {"user_id": "bob"}), 422, "body.user_id"),
        ("commands", order(body={}), 422, "body.account_id"),
        ("commands", order(tenant_id="rival"), 422, "tenant_id"),
        ("commands", order(event_id="~claim~~~"), 422, "event_id"),
        ("commands", order(user_id="bob"), 403, "user_id"),
        ("commands", order(occurred_ns=1), 422, "occurred_ns"),
        ("commands", order(occurred_ns=2**63 - 1), 422, "occurred_ns"),
        (
            "settings",
            {"type": "settings_saved", "body": {"document": "d", "values": {"k" * 65: 1}}},
            422,
            None,
        ),
    ],
)
async def test_bad_input_is_named_and_nothing_is_written(
    hub: TestHub, path: str, sent: dict[str, Any], *, status: int, field: str | None
) -> None:
    """4xx with the field; addresses come from the table alone."""
    answer = await hub.client.post(f"/api/v1/events/{path}", json=sent, headers=hub.auth())

    assert answer.status_code == status, answer.text
    assert field is None or answer.json()["field"] == field
    assert not any(written(hub, kind.topic) for kind in EVENT_KINDS.values())


async def test_an_event_is_bounded_as_a_whole(hub: TestHub) -> None:
    """Many fields that are small enough are too much together."""
    values = {f"key-{number}": "x" * 500 for number in range(200)}
    answer = await hub.client.post(
        "/api/v1/events/settings",
        json={"type": "settings_saved", "body": {"document": "d", "values": values}},
        headers=hub.auth(),
    )

    assert (answer.status_code, answer.json()["field"]) == (413, "body")


async def test_a_service_names_users_by_their_ids_alone(hub: TestHub) -> None:
    """A control key of the log is none."""
    answer = await hub.client.post(
        "/api/v1/events/commands", json=order(user_id="~claim"), headers=hub.auth("svc", **SERVICE)
    )

    assert (answer.status_code, answer.json()["field"]) == (422, "user_id")


async def test_a_service_of_another_tenant_reaches_nobody(hub: TestHub) -> None:
    """What it writes about a user of this name is its own tenant's; alice's page drops and counts it."""
    answer = await hub.client.post(
        COMMANDS, json=order(user_id="alice"), headers=hub.auth("svc", "rival", **SERVICE)
    )
    assert answer.status_code == 201
    await saved(hub, event_id="mine-0001")

    assert [found["event_id"] for found in (await page_of(hub))["events"]] == ["mine-0001"]
    assert dropped(hub) == 1
    theirs = await hub.client.get(COMMANDS, headers=hub.auth("alice", "rival"))
    assert [found["tenant_id"] for found in theirs.json()["events"]] == ["rival"]


@pytest.mark.parametrize(
    "forged",
    [
        record_of(event(user_id="bob")),
        record_of(event(tenant_id="rival")),
        record_of(event(user_id="bob"), key='["acme","alice","x"]'),
        Record(b"alice", b"\xff"),
        Record(b"alice", b"{}"),
        Record(b"alice", orjson.dumps(event().model_dump(by_alias=True) | {"schema": "hub.user-event/9"})),
    ],
)
async def test_a_record_that_is_not_what_its_key_says_is_dropped_and_counted(
    hub: TestHub, forged: Record
) -> None:
    """Foreign envelope, foreign tenant, undecodable, wrong schema: and the user's own events still come."""
    await saved(hub)
    land(hub, forged)
    await saved(hub)

    assert [found["user_id"] for found in (await page_of(hub))["events"]] == ["alice", "alice"]
    assert dropped(hub) == 1


async def test_others_in_the_partition_are_passed_over(hub: TestHub) -> None:
    """A name within a name is another user; nothing is counted."""
    land(hub, record_of(event(user_id="alice-2"), key="alice-2"), record_of(event(user_id="bob"), key="bob"))
    await saved(hub)

    assert len((await page_of(hub))["events"]) == 1
    assert dropped(hub) == 0


async def test_pages_hold_every_event_once_in_order(hub: TestHub) -> None:
    """Whatever the limit; the cursor of a complete page finds what is saved later, and nothing old."""
    ids = [f"event-{number:03}" for number in range(25)]
    for event_id in ids:
        await saved(hub, event_id=event_id)
        land(hub, *(record_of(event(user_id="bob"), key="bob") for _ in range(7)))
    hub.clock.move(SETTLE_MS / 1000 + 1)
    found, cursor, complete = [], "0", False
    while not complete:
        page = await page_of(hub, cursor=cursor, limit=4)
        found += [item["event_id"] for item in page["events"]]
        cursor, complete = page["next_cursor"], page["complete"]
    await saved(hub, event_id="event-later")

    assert found == ids
    assert [item["event_id"] for item in (await page_of(hub, cursor=cursor))["events"]] == ["event-later"]


async def test_a_retry_is_the_same_event(hub: TestHub) -> None:
    """Two records, one event."""
    first, second = await saved(hub, event_id="same-0001"), await saved(hub, event_id="same-0001")

    assert (first["offset"], second["offset"]) == (0, 1)
    assert [found["event_id"] for found in (await page_of(hub))["events"]] == ["same-0001"]


async def test_a_page_reads_marked_blocks_and_nothing_else(hub: TestHub) -> None:
    """Of four blocks alice is in two: a page looks at no other, and at a bounded number of records."""
    log = hub.log.partition("user.commands", HOME)
    others = [record_of(event(user_id="bob"), key="bob")] * EVENT_BLOCK
    await saved(hub, event_id="first-01")
    for _ in range(3):
        log.land(others, 0)
    await saved(hub, event_id="last-001")
    bus = CountingBus(hub)
    events = UserEvents(
        bus,
        await Publisher.open(bus, name="p", meter=hub.meter),
        EventMarks(bus),
        clock=hub.clock,
        rng=hub.services.rng,
        meter=hub.meter,
        max_read=8_000,
    )
    found, cursor, pages, complete = [], 0, 0, False
    while not complete:
        page = await events.get_user_data(principal(), DataType.COMMANDS, cursor=cursor, limit=100)
        found += [item.event_id for item in page.events]
        cursor, complete, pages = int(page.next_cursor), page.complete, pages + 1

    assert found == ["first-01", "last-001"]
    assert pages == 5
    assert max(bus.lengths) <= 8_000
    assert sum(bus.lengths) <= EVENT_BLOCK + 2
    assert len(log.records) > 3 * EVENT_BLOCK


async def test_no_event_is_passed_by_while_its_mark_is_on_its_way(hub: TestHub) -> None:
    """Another gateway's event lies in a block without a mark yet: the cursor stays before it, and the next
    page finds it once the mark is there.
    """
    old_ms = hub.clock() // 1_000_000 - 2 * SETTLE_MS
    land(hub, *[record_of(event(user_id="bob"), key="bob")] * (EVENT_BLOCK - 1), at_ms=old_ms)
    land(hub, record_of(event("unmarked")))
    await saved(hub, event_id="marked-01")
    first = await page_of(hub)
    land_mark(hub, 0)
    events = fresh(hub)
    second = await events.get_user_data(
        principal(), DataType.COMMANDS, cursor=int(first["next_cursor"]), limit=9
    )

    assert [item["event_id"] for item in first["events"]] == ["marked-01"]
    assert [item.event_id for item in second.events] == ["unmarked", "marked-01"]


async def test_an_event_whose_mark_failed_is_not_called_saved(hub: TestHub) -> None:
    """The sender is told to save it again with its id; then it is marked."""
    publisher = await Markless.open(hub.bus, name="p", meter=hub.meter)
    events = fresh(hub, publisher)
    with pytest.raises(AppendUnknown, match="event_id retried-1"):
        await events.save_user_event(principal(), DataType.COMMANDS, new_order("retried-1"))
    publisher.takes_marks = True
    await events.save_user_event(principal(), DataType.COMMANDS, new_order("retried-1"))

    page = await fresh(hub).get_user_data(principal(), DataType.COMMANDS, cursor=0, limit=9)
    assert [item.event_id for item in page.events] == ["retried-1"]


async def test_a_flood_is_refused_with_a_time_to_wait() -> None:
    """503 and Retry-After from a full queue; nothing of it was written."""
    hub = await make_hub(1_795_000_000_000_000_000)
    limits = QueueLimits(tenant_records=1, tenant_bytes=1)
    config = PublisherConfig(limits=limits)
    events = fresh(hub, await Publisher.open(hub.bus, name="p", meter=hub.meter, config=config))
    with pytest.raises(QueueFull) as refusal:
        await events.save_user_event(principal(), DataType.COMMANDS, new_order("flood-001"))

    assert (refusal.value.http_status, refusal.value.retry_after_s) == (503, 1.0)
    assert written(hub) == []


class CountingBus(MemoryBus):
    """Notes how many records of commands each read asked for."""

    def __init__(self, hub: TestHub) -> None:
        super().__init__(hub.log, "counting")
        self.lengths: list[int] = []

    async def read(
        self, topic: str, partition: int, start: int, stop: int
    ) -> AsyncGenerator[list[LogRecord], None]:
        if topic == "user.commands":
            self.lengths.append(stop - start)
        async for records in super().read(topic, partition, start, stop):
            yield records


def fresh(hub: TestHub, publisher: Publisher | None = None) -> UserEvents:
    """Those of another gateway that knows nothing yet."""
    return UserEvents(
        hub.bus,
        publisher or hub.publisher,
        EventMarks(hub.bus),
        clock=hub.clock,
        rng=hub.services.rng,
        meter=hub.meter,
    )


def new_order(event_id: str) -> NewEvent:
    """A valid event, as the routes hand it on."""
    return NewEvent(type="place_order", body=ORDER, event_id=event_id)


class Markless(Publisher):
    """Refuses marks until told otherwise."""

    takes_marks = False

    async def publish(self, tenant: str, place: Place, record: Record, **options: Any) -> int:
        if place.topic == EVENT_MARKS.name and not self.takes_marks:
            raise AppendRefused("the broker refuses")
        return await super().publish(tenant, place, record, **options)


def dropped(hub: TestHub) -> float:
    """How many records were dropped, as an operator would see it."""
    return hub.meter.values.get(
        ("hub_user_events_total", (("data_type", "commands"), ("outcome", "dropped"))), 0.0
    )
