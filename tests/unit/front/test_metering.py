"""Counting what callers use: exact, in memory, and reported once however often it is sent."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from deployments.front import metering
from deployments.front import reports as report_log
from deployments.front.metered import Metered
from deployments.front.metering import UsageMeter
from deployments.front.pipeline import PRINCIPAL
from messaging.memory import MemoryBus, MemoryLog
from messaging.topics import USAGE, create_topics
from models.metrics import MemoryMeter
from models.principal import Principal, Tier
from models.usage import Measure, UsageReport

DAY_NS = 86_400 * 10**9
NOW_NS = 20_000 * DAY_NS


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def __call__(self) -> int:
        return self.now_ns


def somebody(user: str = "ann", tenant: str = "acme") -> Principal:
    """A trader of the tier pro."""
    return Principal(
        user_id=user,
        tenant_id=tenant,
        tier=Tier.PRO,
        roles=frozenset({"tenant:trader"}),
        entitled_until_ns=2**62,
    )


async def made(clock: Clock | None = None) -> tuple[UsageMeter, MemoryLog]:
    """A meter on a log of its own."""
    clock = clock or Clock()
    log = MemoryLog(random.Random(1), clock=clock)
    bus = MemoryBus(log, "gateway")
    await create_topics(bus, 1, [USAGE])
    return UsageMeter(bus, name="gateway", clock=clock, rng=random.Random(2), meter=MemoryMeter()), log


def reported(log: MemoryLog) -> list[UsageReport]:
    """What is in the log."""
    return [UsageReport.from_record(one.value or b"") for one in log.partition(USAGE.name, 0).records]


def amounts(reports: list[UsageReport]) -> dict[tuple[str, str, str], int]:
    """By tenant, user and measure, each report once."""
    once = {(one.source, one.sequence): one for one in reports}
    found: dict[tuple[str, str, str], int] = {}
    for report in once.values():
        for line in report.lines:
            key = line.tenant_id, line.user_id, line.measure
            found[key] = found.get(key, 0) + line.amount
    return found


async def test_what_was_counted_is_reported_together() -> None:
    """By tenant, user, day, tier, feature and measure; then nothing until more is used."""
    usage, log = await made()
    for _ in range(3):
        usage.count(somebody(), "inference", Measure.CALLS)
    usage.count(somebody("bob"), "inference", Measure.CALLS, 5)
    await usage.flush()
    await usage.flush()

    (report,) = reported(log)
    assert report.sequence == 1
    assert [(one.user_id, one.amount, one.day.isoformat(), one.tier) for one in report.lines] == [
        ("ann", 3, "2024-10-04", "pro"),
        ("bob", 5, "2024-10-04", "pro"),
    ]


async def test_use_after_midnight_belongs_to_the_next_day() -> None:
    """Days are those of the moment of use, in UTC, not of the report."""
    clock = Clock()
    usage, log = await made(clock)
    clock.now_ns = NOW_NS + DAY_NS - 1
    usage.count(somebody(), "inference", Measure.CALLS)
    clock.now_ns += 1
    usage.count(somebody(), "inference", Measure.CALLS)
    await usage.flush()

    assert [one.day.isoformat() for one in reported(log)[0].lines] == ["2024-10-04", "2024-10-05"]


@pytest.mark.parametrize("fault", ["refuse", "lose", "lose_ack", "repeat"])
async def test_no_fault_of_the_broker_loses_or_doubles_use(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report is sent again under its own number until it is acknowledged, and counts once."""
    monkeypatch.setattr(report_log, "_APPEND_S", 0.01)
    usage, log = await made()
    rng = random.Random(3)
    for _ in range(30):
        usage.count(somebody(), "inference", Measure.CALLS, 7)
        setattr(log.faults, fault, 0.5 * rng.random())
        await usage.flush()
    setattr(log.faults, fault, 0.0)
    while not await usage.flush():
        pass
    await usage.flush()

    reports = reported(log)
    assert amounts(reports) == {("acme", "ann", "calls"): 210}
    assert sorted({one.sequence for one in reports}) == list(
        range(1, max(one.sequence for one in reports) + 1)
    )


async def test_memory_is_bounded_and_the_tenants_sum_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users beyond the bound are counted as their tenant."""
    monkeypatch.setattr(metering, "MOST_KEYS", 10)
    usage, log = await made()
    for number in range(50):
        usage.count(somebody(f"u{number}"), "inference", Measure.CALLS)
    await usage.flush()

    found = amounts(reported(log))
    assert sum(found.values()) == 50
    assert found["acme", "", "calls"] == 40


async def test_many_lines_are_several_reports() -> None:
    """In order, each of a size that one record holds."""
    usage, log = await made()
    for number in range(metering.LINES + 1):
        usage.count(somebody(f"u{number}"), "inference", Measure.CALLS)
    await usage.flush()

    assert [(one.sequence, len(one.lines)) for one in reported(log)] == [(1, metering.LINES), (2, 1)]


async def test_open_sockets_count_by_the_second_while_they_are_open() -> None:
    """Two sockets of one user for 10 and 4.5 seconds, looked at in the middle."""
    clock = Clock()
    usage, log = await made(clock)
    usage.opened(somebody(), "stream")
    clock.now_ns += 5_500_000_000
    usage.opened(somebody(), "stream")
    await usage.flush()
    clock.now_ns += 4_500_000_000
    usage.closed(somebody(), "stream")
    usage.closed(somebody(), "stream")
    clock.now_ns += 60 * 10**9
    await usage.flush()

    assert amounts(reported(log)) == {("acme", "ann", "sockets"): 2, ("acme", "ann", "socket_seconds"): 14}


async def test_what_is_left_is_reported_at_the_end() -> None:
    """A meter that is stopped says what it still has."""
    usage, log = await made()
    task = asyncio.create_task(usage.run())
    await asyncio.sleep(0)
    usage.count(somebody(), "inference", Measure.CALLS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert amounts(reported(log)) == {("acme", "ann", "calls"): 1}


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/api/v1/infer", 200, {"calls": 1, "inferences": 1}),
        ("/api/v1/infer", 422, {"calls": 1}),
        ("/api/v1/infer", 503, {}),
        ("/api/v1/whatever/they/send", 404, {"calls": 1}),
    ],
)
async def test_calls_count_unless_the_hub_failed(path: str, status: int, expected: dict[str, int]) -> None:
    """And an inference only if it was answered; the name of a feature is never what a caller sent."""
    usage, log = await made()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def drop(_: Any) -> None:
        """Nobody listens."""

    app = Metered(
        answer,
        usage=usage,
        prefix="/api/v1/",
        features={"infer": "inference"},
        inferring=frozenset({"/api/v1/infer"}),
    )
    await app({"type": "http", "path": path, "state": {PRINCIPAL: somebody()}}, drop, drop)  # type: ignore[arg-type]
    await app({"type": "http", "path": path, "state": {}}, drop, drop)  # type: ignore[arg-type]
    await usage.flush()

    lines = [line for report in reported(log) for line in report.lines]
    assert {line.measure.value: line.amount for line in lines} == expected
    assert {line.feature for line in lines} <= {"inference", "other"}
