"""Reads a run out of a live log, to its end, for the ledger and on demand into a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from models.errors import BrokerUnavailable
from serve_app.audit.reading import caught_up, consumer, entry
from serve_app.audit.recording import Recorder
from serve_app.audit.run_ledger import RunLedger

_TURN_MS: Final = 200


async def read_live(
    connection: Mapping[str, Any],
    ledger: RunLedger,
    recorder: Recorder | None,
    *,
    patience_s: float,
    fetch_max_wait_ms: int,
    progress: Callable[[int, int], None],
) -> None:
    """Take all there is; read on for at most `patience_s` while something is owed that may still come.

    `progress` is told how many records were taken, and of how many.
    """
    try:
        async with consumer(connection, fetch_max_wait_ms=fetch_max_wait_ms) as client:
            total = await _count(client)
            give_up = asyncio.get_running_loop().time() + patience_s
            while True:
                while not await caught_up(client):
                    await _take(client, ledger, recorder)
                    progress(ledger.records, max(total, ledger.records))
                if asyncio.get_running_loop().time() > give_up or not ledger.settled().lost:
                    return
                await _take(client, ledger, recorder)
    except KafkaConnectionError as error:
        where = ",".join(connection["bootstrap_servers"])
        raise BrokerUnavailable(f"no Kafka answers at {where}: {error}") from error


async def _count(client: AIOKafkaConsumer) -> int:
    places = list(client.assignment())
    firsts, ends = await client.beginning_offsets(places), await client.end_offsets(places)
    return int(sum(ends.values()) - sum(firsts.values()))


async def _take(client: AIOKafkaConsumer, ledger: RunLedger, recorder: Recorder | None) -> None:
    for place, records in (await client.getmany(timeout_ms=_TURN_MS)).items():
        for record in records:
            taken = entry(record)
            if recorder:
                recorder.put(place.topic, taken)
            ledger.take(place.topic, taken)
