"""Scorecard S3: ten thousand calls of a dozen tenants over shared connections, half of them given up in the
middle, while replicas are killed and Redis stands still. Nothing of one tenant is ever seen by another.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
import pytest
import redis.asyncio

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import SUBSCRIPTIONS, TENANTS, USER_SETTINGS
from models.principal import Tier
from serve_app.access import local_token, principal_of
from tests.e2e.conftest import UpHub
from tests.support.eventually import eventually
from tests.support.processes import descendants, titled

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

TENANTS_COUNT: Final = 12
CALLS: Final = 10_000
CALLERS: Final = 24
PASSWORD: Final = "correct horse battery"
CONTROL: Final = "/api/v1/control"
VICTIMS: Final = ("ServeReplica:hub:pool-light", "ServeReplica:control", "ServeReplica:hub:Gateway")
INFER: Final = {
    "task": "time_series_forecast",
    "max_latency_ms": 2000,
    "inputs": {"window": [[0.0001, -0.0001] * 128], "context": [[0.0] * 8]},
}


@dataclass(frozen=True)
class Resident:
    """One tenant: 128 random bits that stand in everything it says, and its owner's token."""

    tenant_id: str
    canary: str
    headers: dict[str, str]

    def calls(self) -> list[tuple[str, str, Any]]:
        """What its people do all day; the canary is in what they write and what they read."""
        own = f"{CONTROL}/tenants/{self.tenant_id}"
        setting = {
            "type": "settings_saved",
            "occurred_ns": 1,
            "body": {"document": "ui", "values": {"c": self.canary}},
        }
        return [
            ("GET", f"/config/{self.tenant_id}", None),
            ("GET", own, None),
            ("GET", f"{own}/users", None),
            ("GET", f"{own}/config", None),
            ("GET", f"{CONTROL}/me", None),
            ("PATCH", f"{own}/config", {"config": {"branding.display_name": self.canary}}),
            ("PUT", f"/api/v1/subscriptions/swift@1/EURUSD?account={self.canary}", None),
            ("GET", "/api/v1/subscriptions", None),
            ("POST", "/api/v1/events/settings", setting),
            ("GET", "/api/v1/events/settings", None),
            ("POST", "/api/v1/infer", INFER),
        ]


@dataclass
class Seen:
    """What came back: statuses, and every canary that was not the caller's own."""

    canaries: re.Pattern[str]
    statuses: Counter[str] = field(default_factory=Counter)
    own: int = 0
    foreign: list[tuple[str, str]] = field(default_factory=list)

    def take(self, who: Resident, path: str, answer: httpx2.Response) -> None:
        """Look through one answer, headers and all."""
        self.statuses[str(answer.status_code)] += 1
        found = set(self.canaries.findall(answer.text + str(answer.headers)))
        self.own += who.canary in found
        self.foreign += [(path, canary) for canary in found - {who.canary}]


async def test_nothing_of_one_tenant_reaches_another(hub: UpHub) -> None:
    """No foreign canary in any answer, key, record or log; own ones were seen by the thousand."""
    rng = random.Random(3)
    limits = httpx2.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    async with httpx2.AsyncClient(base_url=hub.address.url, limits=limits, timeout=20) as client:
        residents = [await _settled(hub, client, number, rng) for number in range(TENANTS_COUNT)]
        seen = Seen(re.compile("|".join(one.canary for one in residents)))
        hurt = Counter[str]()
        hurting = asyncio.create_task(_hurt(hub, seen, hurt, rng=rng))
        calls = iter(range(CALLS))
        async with asyncio.TaskGroup() as group:
            for caller in range(CALLERS):
                group.create_task(_call(client, residents, seen, calls, rng=random.Random(caller)))
        hurting.cancel()
        with suppress(asyncio.CancelledError):
            await hurting

    assert hurt["stopped"] >= 5
    assert all(hurt[victim] >= 1 for victim in VICTIMS), hurt
    assert seen.foreign == []
    assert seen.own > CALLS / 20, seen.statuses
    assert [one async for one in _misplaced_keys(hub, residents)] == []
    assert [one async for one in _misplaced_records(hub, residents)] == []
    assert list(_logged(hub, seen.canaries)) == []
    measured = "".join([text async for text in _measured(hub)])
    assert "hub_requests_total" in measured
    assert seen.canaries.findall(measured) == []


async def _settled(hub: UpHub, client: httpx2.AsyncClient, number: int, rng: random.Random) -> Resident:
    """A tenant whose names are its canary, and whose owner has logged in."""
    tenant_id, canary = f"talk-{number}", rng.randbytes(16).hex()
    root = principal_of("root", tenant="local", tier=Tier.ENTERPRISE, admin=True)
    admin = {"Authorization": f"Bearer {local_token(hub.address, root)}"}
    owner = {"login": "owner", "name": canary, "password": PASSWORD}
    body = {"tenant_id": tenant_id, "name": canary, "tier": "enterprise", "owner": owner}
    made = await client.post(f"{CONTROL}/tenants", json=body, headers=admin)
    assert made.status_code == 201, made.text
    login = {"tenant": tenant_id, "login": "owner", "password": PASSWORD}
    entered = await client.post(f"{CONTROL}/auth/login", json=login)
    assert entered.status_code == 200, entered.text
    return Resident(tenant_id, canary, {"Authorization": f"Bearer {entered.json()['access_token']}"})


async def _call(
    client: httpx2.AsyncClient,
    residents: list[Resident],
    seen: Seen,
    calls: Iterator[int],
    *,
    rng: random.Random,
) -> None:
    """One call after the other, each for anybody; every second one is given up after a moment."""
    for number in calls:
        who = rng.choice(residents)
        method, path, body = rng.choice(who.calls())
        patience_s = rng.uniform(0.001, 0.05) if number % 2 else 20.0
        with suppress(TimeoutError, httpx2.HTTPError):
            async with asyncio.timeout(patience_s):
                answer = await client.request(method, path, json=body, headers=who.headers)
                seen.take(who, path, answer)


async def _hurt(hub: UpHub, seen: Seen, hurt: Counter[str], *, rng: random.Random) -> None:
    """Kill a replica, stop Redis for a while, and again, as the calls go on."""
    (store,) = [pid for pid in descendants(hub.process.pid) if "valkey" in _command(pid)]
    for turn in count():
        victim = VICTIMS[turn % len(VICTIMS)]
        for pid in rng.sample(found := titled(hub.process.pid, victim), min(1, len(found))):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                hurt[victim] += 1
        await _answered(seen, 150)
        os.kill(store, signal.SIGSTOP)
        try:
            await _answered(seen, 50)
        finally:
            os.kill(store, signal.SIGCONT)
        hurt["stopped"] += 1
        await _answered(seen, 150)


async def _answered(seen: Seen, more: int) -> None:
    """So many more calls, of whatever status."""
    until = seen.statuses.total() + more
    await eventually(lambda: seen.statuses.total() >= until, timeout_s=120)


async def _misplaced_keys(hub: UpHub, residents: list[Resident]) -> AsyncIterator[str]:
    """Keys of Redis that hold the canary of a tenant which is not in their name."""
    client = redis.asyncio.Redis.from_url(hub.address.redis)
    try:
        async for key in client.scan_iter():
            value = await client.get(key) or b""
            for one in residents:
                if one.canary.encode() in key + value and one.tenant_id.encode() not in key:
                    yield key.decode()
    finally:
        await client.aclose()


async def _misplaced_records(hub: UpHub, residents: list[Resident]) -> AsyncIterator[str]:
    """Records that hold the canary of a tenant which is not theirs."""
    bus = await open_bus(KafkaConfig(bootstrap=hub.address.kafka), client_id="test-cross-talk")
    try:
        for topic in (TENANTS, SUBSCRIPTIONS, USER_SETTINGS):
            for partition in range(topic.partitions):
                first, end = await bus.bounds(topic.name, partition)
                async for records in bus.read(topic.name, partition, first, end):
                    for record in records:
                        for canary in _strangers(record.key, record.value, residents):
                            yield f"{topic.name}[{partition}]@{record.offset}: {canary}"
    finally:
        await bus.close()


def _strangers(key: bytes, value: bytes | None, residents: list[Resident]) -> Iterator[str]:
    owner = orjson.loads(value).get("tenant_id", "") if value else ""
    for one in residents:
        if value and one.canary.encode() in key + value and owner != one.tenant_id:
            yield one.canary


def _logged(hub: UpHub, canaries: re.Pattern[str]) -> Iterator[str]:
    """Logs of this hub that hold any canary: what tenants call themselves is none of a log's business."""
    for session in {one for pid in descendants(hub.process.pid) for one in _sessions(pid)}:
        for log in (session / "logs").rglob("*"):
            if log.is_file() and canaries.search(log.read_text(errors="replace")):
                yield str(log.name)


async def _measured(hub: UpHub) -> AsyncIterator[str]:
    """What a Prometheus would read of this hub: its targets stand in a file beside the session."""
    sessions = {one for pid in descendants(hub.process.pid) for one in _sessions(pid)}
    found = {one.parent / "prom_metrics_service_discovery.json" for one in sessions}
    targets = {name for one in found for group in orjson.loads(one.read_bytes()) for name in group["targets"]}
    async with httpx2.AsyncClient(timeout=20) as client:
        for name in sorted(targets):
            yield (await client.get(f"http://{name}/metrics")).text


def _sessions(pid: int) -> set[Path]:
    return {Path(one) for one in re.findall(r"/[^\s\x00=]*/session_[0-9_-]+", _command(pid))}


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""
