"""`save_user_event` on Apache Kafka at a fixed rate, beside aiokafka's `send_and_wait` per event.

Three processes take turns on the machine: the broker, and the hub or the peer, both driving themselves in an
open loop (`events_worker.py`). A time is from an event's place in the schedule to its acknowledgement, so an
event that waits behind others waits on the clock: making the event, checking it, and its mark are inside, and
so is the lateness of the driver itself, which therefore nobody else watches.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.broker import broker
from benchmarks.child import Child, child
from benchmarks.harness import Benchmark, Report, VoidRunError, middle, percentile, spread
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import create_topics

RATE: Final = 10_000
"""Events a second, offered in the blocks that times are taken from."""
MORE: Final = 12_000
"""Offered in the blocks that show how many are saved: nobody saves more than is offered."""
BLOCK_S: Final = 5.0
BLOCKS: Final = 4
WARM_UP_S: Final = 5.0
WAYS: Final = ("hub", "aiokafka", "aiokafka")
"""The peer twice, for its spread against itself."""


@dataclass
class Series:
    """What the blocks of one way came to."""

    rates: list[float] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    p99s_ms: list[float] = field(default_factory=list)
    failed: int = 0

    def take(self, steady: dict[str, Any], pushed: dict[str, Any]) -> None:
        """Add two blocks; VoidRunError if nothing of them was acknowledged."""
        for answer in (steady, pushed):
            if not answer["ms"]:
                raise VoidRunError(f"no event was acknowledged: {answer['failed']}")
            self.failed += sum(answer["failed"].values())
        times_ms = steady["ms"]
        self.rates.append(len(pushed["ms"]) / pushed["elapsed_s"])
        self.times_ms += times_ms
        self.p99s_ms.append(percentile(times_ms, 99))


def run(report: Report) -> None:
    """Blocks of ours and of the peer in turn, so that whatever disturbs the machine disturbs them alike."""
    with broker(apart=True) as (kafka, _):
        asyncio.run(_measure(report, kafka))


async def _measure(report: Report, kafka: str) -> None:
    bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="benchmark")
    await create_topics(bus, 1)
    await bus.close()
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(child("benchmarks.events_worker", [kafka, way])) for way in WAYS
        ]
        for one in children:
            await _block(one, RATE, WARM_UP_S)
        series = [Series() for _ in WAYS]
        for _ in range(BLOCKS):
            for one, its in zip(children, series, strict=True):
                its.take(await _block(one, RATE, BLOCK_S), await _block(one, MORE, BLOCK_S))
    _report(report, *series)


async def _block(one: Child, rate: int, seconds: float) -> dict[str, Any]:
    return await one.ask(f"{rate} {seconds}")


def _report(report: Report, ours: Series, peer: Series, again: Series) -> None:
    report.add("events_per_s", middle(ours.rates), f"acknowledged a second, of {MORE:,} offered")
    report.add("publish_p50_ms", middle(ours.times_ms), "ms, from the schedule to the acknowledgement")
    report.add(
        "publish_p99_ms", percentile(ours.times_ms, 99), f"ms, at p99 of {len(ours.times_ms):,} events"
    )
    report.add("failed", ours.failed, "events refused or unknown")
    report.add("aiokafka_events_per_s", middle(peer.rates), "the same, aiokafka `send_and_wait` per event")
    report.add("aiokafka_p50_ms", middle(peer.times_ms), "ms")
    report.add("aiokafka_p99_ms", percentile(peer.times_ms, 99), "ms")
    report.add("aa_spread", spread(peer.p99s_ms, again.p99s_ms), "share, aiokafka's p99 against itself")
    report.add("p99_ratio", middle(peer.p99s_ms) / middle(ours.p99s_ms), "x, aiokafka's p99 over ours")


BENCHMARK: Final = Benchmark(
    name="events",
    question="How many user events a second are saved, and how long does one take at 10,000 a second?",
    run=run,
)
