"""Usage out of the logs: each record once, through repeats, kills and other replicas."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import insert, select, text

from deployments.control.usage.alerts import AlertTeller
from deployments.control.usage.intake import CountReports, CountSignals, TopicCount
from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import Record
from messaging.topics import SIGNALS, TENANT_EVENTS, USAGE, create_topics
from models.usage import Measure, SubscriptionViolation, TenantLimitApproaching, Violation
from storage.postgres import audit, usage
from storage.postgres.audit import Wanted
from storage.postgres.database import Database
from storage.postgres.tables.people import TENANTS
from storage.postgres.tables.usage import USAGE_ALERTS, USAGE_DAYS
from tests.support.eventually import eventually
from tests.support.usage import TODAY, claim, line, report, signal, wires

FAR_NS = 4_000_000_000 * 10**9


async def _bus(seed: int = 1) -> tuple[MemoryBus, MemoryLog]:
    log = MemoryLog(random.Random(seed))
    bus = MemoryBus(log, "control")
    await create_topics(bus, 1)
    return bus, log


async def _write(bus: MemoryBus, topic: str, partition: int, records: Sequence[Record]) -> None:
    producer = await bus.producer("test")
    for record in records:
        await producer.append(topic, partition, [record], timeout_s=5.0)
    await producer.close()


async def _counted(bus: MemoryBus, count: TopicCount, topic: str, partition: int = 0) -> bool:
    """Everything from where the count stands; whether it was this one that counted."""
    start = (await count.resume())[partition]
    _, end = await bus.bounds(topic, partition)
    records = [one async for batch in bus.read(topic, partition, start, end) for one in batch]
    return await count.take(records)


async def _amounts(database: Database) -> dict[tuple[str, str, str], int]:
    async with database.platform() as connection:
        found = await connection.execute(select(USAGE_DAYS))
        return {(one.tenant_id, one.user_id, one.measure): one.amount for one in found}


async def _tenant(database: Database, tenant: str = "acme", until_ns: int = FAR_NS) -> None:
    row = {"tenant_id": tenant, "name": tenant, "tier": "pro", "status": "active", "version": 1}
    moments = {"entitled_until_ns": until_ns, "created_ns": 1, "changed_ns": 1}
    async with database.tenant(tenant) as connection:
        await connection.execute(insert(TENANTS), {**row, **moments})


async def test_a_report_that_comes_again_counts_once(database: Database) -> None:
    """In one batch, in a later one, and out of the past; a record that is no report holds up nothing."""
    bus, _ = await _bus()
    first, second = report(1, line(3)), report(2, line(4), line(9, user="bob"))
    await _write(bus, USAGE.name, 0, [first, first, Record(b"x", b"no report"), second])
    count = TopicCount(CountReports(), wires(database, bus))
    assert await _counted(bus, count, USAGE.name)
    await _write(bus, USAGE.name, 0, [first, second, report(1, line(5), source="gateway-2")])
    assert await _counted(bus, TopicCount(CountReports(), wires(database, bus)), USAGE.name)

    assert await _amounts(database) == {("acme", "ann", "calls"): 12, ("acme", "bob", "calls"): 9}


async def test_a_report_under_another_name_is_nobodys(database: Database) -> None:
    """Who writes under a foreign key cannot use up the numbers of another process."""
    bus, _ = await _bus()
    forged = Record(b"gateway-1", report(99, line(1), source="gateway-2").value)
    await _write(bus, USAGE.name, 0, [forged, report(1, line(2)), report(1, line(4), source="gateway-2")])
    await _counted(bus, TopicCount(CountReports(), wires(database, bus)), USAGE.name)

    assert await _amounts(database) == {("acme", "ann", "calls"): 6}


async def test_signals_count_that_are_valid_and_once(database: Database) -> None:
    """Void ones of an owner that was replaced, repeats and forged ones do not; a restart changes nothing."""
    bus, _ = await _bus()
    records = [
        claim(),
        signal(1, epoch=0),
        signal(1, epoch=0),
        signal(2, epoch=0),
        claim(),
        signal(3, epoch=0),
        signal(3, epoch=4),
        Record(b"ann", signal(9, epoch=4, user="bob").value),
        Record(b"ann", b"\xff"),
        Record(b"ann", b'{"tenant_id": 1}'),
    ]
    await _write(bus, SIGNALS.name, 5, records)
    await _counted(bus, TopicCount(CountSignals(), wires(database, bus)), SIGNALS.name, 5)
    await _write(bus, SIGNALS.name, 5, [signal(4, epoch=0), signal(3, epoch=4), signal(4, epoch=4)])
    await _counted(bus, TopicCount(CountSignals(), wires(database, bus)), SIGNALS.name, 5)

    assert await _amounts(database) == {("acme", "ann", "signals"): 4}


async def test_of_two_replicas_one_counts(database: Database) -> None:
    """The other learns that it was overtaken, and has added nothing."""
    bus, _ = await _bus()
    await _write(bus, USAGE.name, 0, [report(number, line(1)) for number in range(1, 6)])
    one, other = (TopicCount(CountReports(), wires(database, bus)) for _ in range(2))
    await asyncio.gather(one.resume(), other.resume())
    records = [found async for batch in bus.read(USAGE.name, 0, 0, 5) for found in batch]

    done = await asyncio.gather(one.take(records), other.take(records))

    assert sorted(done) == [False, True]
    assert await _amounts(database) == {("acme", "ann", "calls"): 5}


@pytest.mark.parametrize("seed", range(3))
async def test_the_sum_is_exact_through_kills_and_a_broker_that_repeats(
    database: Database, seed: int
) -> None:
    """Counters die at random moments while reports come, some of them twice: nothing is lost or doubled."""
    rng = random.Random(seed)
    bus, log = await _bus(seed)
    log.faults.repeat = 0.3
    sent = 0

    async def send() -> None:
        nonlocal sent
        for sequence in range(1, 121):
            amount = rng.randint(1, 1_000)
            await _write(
                bus, USAGE.name, 0, [report(sequence, line(amount), line(1, user=f"u{sequence % 7}"))]
            )
            sent += amount + 1
            await asyncio.sleep(0.002)

    sending = asyncio.create_task(send())
    while not sending.done():
        count = asyncio.create_task(TopicCount(CountReports(), wires(database, bus, seed=seed)).run())
        await asyncio.sleep(rng.uniform(0.0, 0.08))
        count.cancel()
        await asyncio.gather(count, return_exceptions=True)
    await sending
    last = asyncio.create_task(TopicCount(CountReports(), wires(database, bus)).run())

    async def all_counted() -> bool:
        return sum((await _amounts(database)).values()) >= sent

    await eventually(all_counted)
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)

    assert sum((await _amounts(database)).values()) == sent


async def test_a_topic_that_was_made_anew_is_counted_from_its_beginning(database: Database) -> None:
    """Its old position means nothing; reports that were counted before still count once."""
    old, _ = await _bus()
    await _write(old, USAGE.name, 0, [report(number, line(1)) for number in range(1, 6)])
    await _counted(old, TopicCount(CountReports(), wires(database, old)), USAGE.name)
    new, _ = await _bus()
    await _write(new, USAGE.name, 0, [report(5, line(1)), report(6, line(1))])
    await _counted(new, TopicCount(CountReports(), wires(database, new)), USAGE.name)

    assert await _amounts(database) == {("acme", "ann", "calls"): 6}


async def _told(
    database: Database, bus: MemoryBus, log: MemoryLog
) -> list[TenantLimitApproaching | SubscriptionViolation]:
    teller = AlertTeller(database, bus, clock=lambda: 7, rng=random.Random(1))
    await teller.tell()
    await teller.close()
    found: list[TenantLimitApproaching | SubscriptionViolation] = []
    for one in log.partition(TENANT_EVENTS.name, 0).records:
        value = one.value or b""
        kind = TenantLimitApproaching if b"limit-approaching" in value else SubscriptionViolation
        found.append(kind.from_record(value))
    return found


async def test_each_level_of_a_limit_is_told_once_a_month(database: Database) -> None:
    """80 and 95 percent near it, beyond it is a violation; on the topic and in the tenant's audit."""
    bus, log = await _bus()
    await _tenant(database)
    for sequence, calls in enumerate((79, 1, 14, 1, 5, 1, 50), start=1):  # 79 80 94 95 100 101 151 of 100
        await _write(bus, USAGE.name, 0, [report(sequence, line(calls))])
        await _counted(bus, TopicCount(CountReports(), wires(database, bus)), USAGE.name)
    told = await _told(database, bus, log)
    again = await _told(database, bus, log)
    async with database.tenant("acme") as connection:
        entries = await audit.page(connection, "acme", Wanted(), after=0, most=10)

    assert [(one.used, one.allowed) for one in told] == [(80, 100), (95, 100), (101, 100)]
    assert [one.level for one in told if isinstance(one, TenantLimitApproaching)] == [80, 95]
    assert [one.violation for one in told if isinstance(one, SubscriptionViolation)] == [
        Violation.LIMIT_EXCEEDED
    ]
    assert again == told
    assert [one.action for one in entries] == [
        "usage.limit_approaching",
        "usage.limit_approaching",
        "usage.subscription_violation",
    ]


async def test_a_new_month_is_told_anew_and_a_leap_tells_every_level(database: Database) -> None:
    """From nothing to beyond the limit in one report; next month begins at nothing."""
    bus, log = await _bus()
    await _tenant(database)
    next_month = TODAY + timedelta(days=30)
    await _write(bus, USAGE.name, 0, [report(1, line(500)), report(2, line(99, day=next_month))])
    await _counted(bus, TopicCount(CountReports(), wires(database, bus)), USAGE.name)

    told = await _told(database, bus, log)

    levels = [(one.month, getattr(one, "level", 100)) for one in told]
    assert sorted(levels) == [
        ("2026-11", 80),
        ("2026-11", 95),
        ("2026-11", 100),
        ("2026-12", 80),
        ("2026-12", 95),
    ]


async def test_a_teller_that_died_before_its_mark_tells_the_same_event_again(database: Database) -> None:
    """Readers know it by its id, and the audit has it once."""
    bus, log = await _bus()
    await _tenant(database)
    await _write(bus, USAGE.name, 0, [report(1, line(85))])
    await _counted(bus, TopicCount(CountReports(), wires(database, bus)), USAGE.name)
    await _told(database, bus, log)
    async with database.tenant("acme") as connection:
        await connection.execute(USAGE_ALERTS.update().values(told_ns=None))
    told = await _told(database, bus, log)

    assert len(told) == 2
    assert len({one.event_id for one in told}) == 1


async def test_use_after_the_entitlement_ended_is_a_violation(database: Database) -> None:
    """From the day after: of the day itself nobody can say what came before."""
    bus, log = await _bus()
    noon_ns = int(datetime.combine(TODAY, time(12), UTC).timestamp()) * 10**9
    await _tenant(database, until_ns=noon_ns)
    await _tenant(database, "bolt")
    lines = [line(1, tenant=tenant, day=TODAY) for tenant in ("acme", "bolt")]
    await _write(bus, USAGE.name, 0, [report(1, *lines)])
    await _counted(bus, TopicCount(CountReports(), wires(database, bus)), USAGE.name)
    before = await _told(database, bus, log)
    late = [line(1, tenant=tenant, day=TODAY + timedelta(days=1)) for tenant in ("acme", "bolt")]
    await _write(bus, USAGE.name, 0, [report(2, *late)])
    await _counted(bus, TopicCount(CountReports(), wires(database, bus)), USAGE.name)

    told = await _told(database, bus, log)

    assert before == []
    assert [(one.tenant_id, getattr(one, "violation", None)) for one in told] == [
        ("acme", Violation.ENTITLEMENT_ENDED)
    ]


async def test_storage_is_the_most_of_a_day_and_never_added_up(database: Database) -> None:
    """Measured twice, it is not twice as much; over a month it is the most of its days."""
    key = line(1, user="", measure=Measure.STORAGE_BYTES, feature="storage").key
    async with database.platform() as connection:
        for day, amount in ((TODAY, 50), (TODAY, 70), (TODAY, 60), (TODAY + timedelta(days=1), 65)):
            await usage.peak(connection, {key._replace(day=day): amount})
        await usage.peak(connection, {key._replace(tenant_id="bolt"): 30})
        first = TODAY.replace(day=1)
        found = await usage.totals(connection, "feature", first=first, before=TODAY + timedelta(days=9))

    assert [(one.by, one.amount) for one in found] == [("storage", 100)]


async def test_a_tenant_neither_counts_nor_sees_others(database: Database) -> None:
    """Usage is written by the platform alone."""
    async with database.platform() as connection:
        await usage.add(connection, {line(1).key: 5, line(1, tenant="bolt").key: 7})
    async with database.tenant("acme") as connection:
        seen = (await connection.execute(select(USAGE_DAYS.c.amount))).scalars().all()
        may = await connection.scalar(
            text("SELECT has_table_privilege('hub.usage_days', 'INSERT, UPDATE, DELETE')")
        )

    assert list(seen) == [5]
    assert may is False
