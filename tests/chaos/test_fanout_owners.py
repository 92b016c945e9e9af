"""Fan-out workers on Apache Kafka, killed, frozen, thawed, joined and sent away while predictions come in."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Final, NoReturn

import pytest

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.lease import Lease
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import EventBus, LogRecord, Record
from messaging.topics import (
    FORECASTER,
    PREDICTIONS,
    SIGNALS,
    SUBSCRIPTIONS,
    Topic,
    create_topics,
    partition_of,
)
from models.events import CLAIM_KEY
from models.metrics import MemoryMeter
from signals.encoding import encode
from tests.simulation.judge import Evidence, Verdict, judge
from tests.support.eventually import eventually
from tests.unit.signals.records import prediction, slot, subscription

ROOT: Final = Path(__file__).resolve().parents[2]
USERS: Final = tuple(f"user-{number:03d}" for number in range(200))
EVERY_S: Final = 0.2
TTL_NS: Final = 12_000_000_000
CALM_NS: Final = 3_000_000_000
"""After the last signal has expired, by when whatever may still come has come."""
SOURCE: Final = partition_of(b"EURUSD", PREDICTIONS.partitions)


class Forecaster:
    """Owns the predictions, and writes one every fifth of a second."""

    def __init__(self, bus: EventBus) -> None:
        config = OwnershipConfig(topic=PREDICTIONS.name, group=FORECASTER.name, name="forecaster")
        self.due: list[tuple[str, str, int]] = []
        self.leases: dict[int, Lease] = {}
        self.ownership = Ownership(bus, self, config, clock=time.time_ns, rng=Random(1), meter=MemoryMeter())

    async def restore(self, lease: Lease) -> int:
        return lease.epoch + 1

    async def serve(self, lease: Lease) -> NoReturn:
        self.leases[lease.partition] = lease
        await lease.lost()

    async def predict(self, seconds: float) -> None:
        """Go on for so long."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            lease, close_ms, now_ns = self.leases[SOURCE], 10_000 * (len(self.due) + 1), time.time_ns()
            owed = prediction(slot(close_ms), epoch=lease.epoch).model_copy(
                update={"generated_ns": now_ns, "expires_ns": now_ns + TTL_NS}
            )
            await lease.append([Record(b"EURUSD", encode(owed))])
            self.due.append(("alpha@1", "EURUSD", close_ms))
            await asyncio.sleep(EVERY_S)


class Fleet:
    """Worker processes by name; whoever is left is killed at the end."""

    def __init__(self, address: str, logs: Path) -> None:
        self._address = address
        self._logs = logs
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        command = [sys.executable, "-m", "tests.chaos.fanout_process", self._address, name]
        with (self._logs / f"{name}.log").open("wb") as log:
            self._workers[name] = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def send(self, name: str, what: signal.Signals) -> None:
        self._workers[name].send_signal(what)

    def end(self) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.wait()


@pytest.fixture
async def bus(kafka_bootstrap: str) -> AsyncIterator[EventBus]:
    """Kafka with topics and 200 subscriptions."""
    bus = await open_bus(KafkaConfig(bootstrap=kafka_bootstrap), client_id="chaos")
    await create_topics(bus, 1)
    producer = await bus.producer("subscriptions")
    for user in USERS:
        one = subscription(user, entitled_until_ns=time.time_ns() * 2)
        home = partition_of(user.encode(), SUBSCRIPTIONS.partitions)
        await producer.append(SUBSCRIPTIONS.name, home, [Record(one.key(), encode(one))], timeout_s=10)
    yield bus
    await bus.close()


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_no_user_loses_a_signal_whatever_happens_to_the_owners(
    bus: EventBus, kafka_bootstrap: str, tmp_path: Path
) -> None:
    """A kill, a freeze beyond the session, one within it, a newcomer and a hand-over: every signal is there
    once, in order, or recorded as undelivered; and hardly any is.
    """
    forecaster, fleet = Forecaster(bus), Fleet(kafka_bootstrap, tmp_path)
    owning = asyncio.create_task(forecaster.ownership.run())
    try:
        fleet.start("first")
        fleet.start("second")
        await eventually(lambda: forecaster.ownership.ready, 30)
        await eventually(lambda: _claimed_by_two(bus), 60)
        await _trouble(forecaster, fleet)
        calm_ns = time.time_ns() + TTL_NS + CALM_NS
        await eventually(lambda: time.time_ns() > calm_ns, 20)
        verdict = await _verdict(bus, forecaster)
    finally:
        fleet.end()
        owning.cancel()
        await asyncio.gather(owning, return_exceptions=True)

    assert verdict.complaints == []
    assert verdict.owed == len(forecaster.due) * len(USERS)
    assert verdict.delivered > 0.9 * verdict.owed


async def _trouble(forecaster: Forecaster, fleet: Fleet) -> None:
    await forecaster.predict(5)
    fleet.send("first", signal.SIGKILL)
    fleet.start("third")
    await forecaster.predict(14)
    fleet.send("second", signal.SIGSTOP)
    await forecaster.predict(9)
    fleet.send("second", signal.SIGCONT)
    await forecaster.predict(8)
    fleet.send("third", signal.SIGSTOP)
    await forecaster.predict(3)
    fleet.send("third", signal.SIGCONT)
    fleet.start("fourth")
    await forecaster.predict(10)
    fleet.send("third", signal.SIGTERM)
    await forecaster.predict(8)


async def _verdict(bus: EventBus, forecaster: Forecaster) -> Verdict:
    """What the simulation's judge says to the real logs, which hold no record of probes."""
    evidence = Evidence(
        predictions=await _records(bus, PREDICTIONS),
        signals=await _records(bus, SIGNALS),
        subscriptions=[(0, (user, "main"), "alpha@1", "EURUSD", True) for user in USERS],
        due=forecaster.due,
        probes=None,
        partition_of=lambda user: partition_of(user.encode(), SIGNALS.partitions),
        calm_from_ns=1 << 63,
    )
    return judge(evidence)


async def _claimed_by_two(bus: EventBus) -> bool:
    """Whether every partition is claimed, and they are shared."""
    claims = [
        [record.value for record in records if record.key == CLAIM_KEY]
        for records in (await _records(bus, SIGNALS)).values()
    ]
    return all(claims) and len({(claim[-1] or b"").split(b'"owner":')[1][:8] for claim in claims}) == 2


async def _records(bus: EventBus, topic: Topic) -> dict[int, list[LogRecord]]:
    found: dict[int, list[LogRecord]] = {}
    for partition in range(topic.partitions):
        start, stop = await bus.bounds(topic.name, partition)
        batches = bus.read(topic.name, partition, start, stop)
        found[partition] = [record async for batch in batches for record in batch]
    return found
