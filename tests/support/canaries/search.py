"""Searches what the hub keeps and writes - keys, records, logs, metrics - for canaries in the wrong place."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx2
import orjson
import redis.asyncio

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import SIGNAL_STATE, TOPICS
from tests.e2e.conftest import UpHub
from tests.support.canaries.resident import Resident
from tests.support.processes import command_of, descendants


async def misplaced_keys(hub: UpHub, residents: Sequence[Resident]) -> AsyncIterator[str]:
    """Keys of Redis that hold the canary of a tenant which is not in their name."""
    client = redis.asyncio.Redis.from_url(hub.address.redis)
    try:
        async for key in client.scan_iter():
            value = await client.get(key) or b""
            for one in residents:
                if _holds(one, key + value) and one.tenant_id.encode() not in key:
                    yield key.decode()
    finally:
        await client.aclose()


_OF_ONE_TENANT = tuple(topic for topic in TOPICS if topic is not SIGNAL_STATE)
"""A checkpoint is of all users of a partition, whose accounts it names; the partition's owner reads it."""


class Records:
    """Every record of one tenant: how many hold a canary, by topic, and those that are not the tenant's."""

    def __init__(self, residents: Sequence[Resident]) -> None:
        self.held: dict[str, int] = {}
        self.misplaced: list[str] = []
        self._residents = residents

    async def read(self, hub: UpHub) -> None:
        """From the first to the last there is now."""
        bus = await open_bus(KafkaConfig(bootstrap=hub.address.kafka), client_id="test-cross-talk")
        try:
            for topic in _OF_ONE_TENANT:
                for partition in range(topic.partitions):
                    first, end = await bus.bounds(topic.name, partition)
                    async for records in bus.read(topic.name, partition, first, end):
                        for record in records:
                            self.look(topic.name, record.key + b"\n" + (record.value or b""))
        finally:
            await bus.close()

    def look(self, topic: str, text: bytes) -> None:
        """Take one record, its key and its value."""
        held = [one for one in self._residents if _holds(one, text)]
        if held:
            self.held[topic] = self.held.get(topic, 0) + 1
        self.misplaced += [
            f"{topic}: {text[:300]!r}" for one in held if not _is_of(one, text, self._residents)
        ]


def logged(hub: UpHub, canaries: re.Pattern[str]) -> Iterator[str]:
    """Logs of this hub that hold any canary: what tenants call themselves is none of a log's business."""
    for session in {one for pid in descendants(hub.process.pid) for one in _sessions(pid)}:
        for log in (session / "logs").rglob("*"):
            if log.is_file() and canaries.search(log.read_text(errors="replace")):
                yield str(log.name)


async def measured(hub: UpHub) -> str:
    """What a Prometheus would read of this hub: its targets stand in a file beside the session."""
    sessions = {one for pid in descendants(hub.process.pid) for one in _sessions(pid)}
    found = {one.parent / "prom_metrics_service_discovery.json" for one in sessions}
    targets = {name for one in found for group in orjson.loads(one.read_bytes()) for name in group["targets"]}
    async with httpx2.AsyncClient(timeout=20) as client:
        return "".join([(await client.get(f"http://{name}/metrics")).text for name in sorted(targets)])


def _holds(one: Resident, text: bytes) -> bool:
    return one.canary.encode() in text or one.digits.encode() in text


def _is_of(one: Resident, text: bytes, residents: Sequence[Resident]) -> bool:
    """It names the tenant or its user, and nobody else."""
    return _names(one, text) and not any(_names(other, text) for other in residents if other is not one)


def _names(one: Resident, text: bytes) -> bool:
    return bool(re.search(rf"\b({re.escape(one.tenant_id)}|{re.escape(one.user_id)})\b".encode(), text))


def _sessions(pid: int) -> set[Path]:
    return {Path(one) for one in re.findall(r"/[^\s=]*/session_[0-9_-]+", " ".join(command_of(pid)))}
