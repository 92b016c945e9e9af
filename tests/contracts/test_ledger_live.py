"""`hub ledger` on a live log: all of it is read, judged, and saved as it was."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import EventBus, Record
from messaging.topics import PREDICTIONS, SIGNALS, SUBSCRIPTIONS, create_topics
from models.errors import BrokerUnavailable
from serve_app.audit.live import read_live
from serve_app.audit.recording import Header, new_recording, open_recording
from serve_app.audit.run_ledger import RunLedger
from serve_app.servers.ports import free_ports
from tests.unit.signals.recorded import Recorded


@pytest.fixture
async def bus(tansu_bootstrap: str) -> AsyncIterator[EventBus]:
    """On the bundled broker, with the topics of a run."""
    bus = await open_bus(KafkaConfig.tansu(tansu_bootstrap), client_id="ledger-test")
    await create_topics(bus, 1, (PREDICTIONS, SIGNALS, SUBSCRIPTIONS))
    yield bus
    await bus.close()


async def written(bus: EventBus, run: Recorded) -> None:
    """Put the run's records where they lay; the broker gives them the time of now."""
    producer = await bus.producer("run")
    for topic, partitions in run.logs.items():
        for partition, log in partitions.items():
            records = [Record(entry.key, entry.value) for entry in log]
            if records:
                assert await producer.append(topic, partition, records, timeout_s=20) == 0


async def test_a_live_run_is_clean_and_so_is_its_recording(
    bus: EventBus, tansu_bootstrap: str, tmp_path: Path
) -> None:
    """The same verdict from the log and from the file, and progress on the way."""
    run, told = Recorded(users=60, start_ns=time.time_ns() + 10**10), list[tuple[int, int]]()
    await written(bus, run)
    book = RunLedger(run.due, SIGNALS.partitions)
    file = tmp_path / "run.gz"

    with new_recording(file, Header(run.due, SIGNALS.partitions)) as recorder:
        await read_live(
            {"bootstrap_servers": [tansu_bootstrap]},
            book,
            recorder,
            patience_s=10,
            fetch_max_wait_ms=20,
            progress=lambda done, total: told.append((done, total)),
        )
    again = RunLedger(run.due, SIGNALS.partitions)
    with open_recording(file, lambda _: None) as (_, records):
        for topic, entry in records:
            again.take(topic, entry)

    findings = book.settled()
    assert findings.clean, findings.examples
    assert findings.delivered == run.deliveries
    assert again.settled() == findings
    assert told[-1] == (book.records, book.records)
    assert all(done <= total for done, total in told)


async def test_an_address_without_a_broker_is_a_clear_error() -> None:
    """Which address, and that nobody answers."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    book = RunLedger([], SIGNALS.partitions)

    with pytest.raises(BrokerUnavailable, match=address):
        await read_live(
            {"bootstrap_servers": [address]},
            book,
            None,
            patience_s=1,
            fetch_max_wait_ms=20,
            progress=lambda *_: None,
        )
