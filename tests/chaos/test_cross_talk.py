"""Scorecard S3: ten thousand calls of a dozen tenants over shared connections, half of them given up in the
middle, while a market runs, replicas are killed and Redis stands still. Nothing of one tenant is ever seen by
another: neither in what it is told nor in a forecast made of its features, nor in a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Any, Final

import httpx2
import pytest

from messaging.topics import SIGNALS, SUBSCRIPTIONS, TENANTS, USER_SETTINGS
from serve_app.stream_client import SignalStream
from tests.e2e.conftest import UpHub
from tests.support.canaries.resident import MODELS, Resident, settled
from tests.support.canaries.search import Records, logged, measured, misplaced_keys
from tests.support.canaries.seen import Seen
from tests.support.eventually import eventually
from tests.support.hub_run import Playback, played
from tests.support.processes import command_of, descendants, titled

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

RESIDENTS: Final = 12
CALLS: Final = 10_000
CALLERS: Final = 24
MARKET: Final = Playback(seconds=600, speed=10.0)
VICTIMS: Final = ("ServeReplica:hub:pool-light", "ServeReplica:control", "ServeReplica:hub:Gateway")


async def test_nothing_of_one_tenant_reaches_another(hub: UpHub) -> None:
    """No foreign canary in any answer, frame, forecast, key, record, log or metric; own ones were seen by the
    thousand.
    """
    async with _client(hub) as client:
        residents = [await settled(hub, client, number, Random(number)) for number in range(RESIDENTS)]
        seen, hurt = Seen(residents), Counter[str]()
        await _quiet(client, residents, seen)
        with played(hub, MARKET):
            async with (
                _beside(_hurt(hub, seen, hurt)),
                _beside(*(_follow(hub, seen, one) for one in residents)),
            ):
                await _busy(client, residents, seen)
    records = Records(residents)
    await records.read(hub)
    metrics = await measured(hub)

    assert hurt["stopped"] >= 5
    assert all(hurt[victim] >= 1 for victim in VICTIMS), hurt
    assert seen.foreign == []
    assert [one async for one in misplaced_keys(hub, residents)] == []
    assert records.misplaced == []
    assert list(logged(hub, seen.canaries)) == []
    assert seen.canaries.findall(metrics) == []
    _assert_there_was_much_to_see(seen, records, metrics)


def _assert_there_was_much_to_see(seen: Seen, records: Records, metrics: str) -> None:
    """Own canaries wherever there could have been foreign ones."""
    assert seen.own["answer"] > CALLS / 20, (seen.own, seen.statuses)
    assert seen.own["forecast"] > CALLS / 50, (seen.own, seen.statuses)
    assert seen.own["signals"] > CALLS / 200, (seen.own, seen.statuses)
    assert seen.own["stream"] > RESIDENTS * 20, seen.own
    assert records.held.keys() >= {one.name for one in (TENANTS, SUBSCRIPTIONS, USER_SETTINGS, SIGNALS)}
    assert "hub_requests_total" in metrics


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work without an end, going on beside the block; an error in it is the test's."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == []


@asynccontextmanager
async def _client(hub: UpHub) -> AsyncIterator[httpx2.AsyncClient]:
    """All tenants' calls go over the same few connections."""
    limits = httpx2.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    async with httpx2.AsyncClient(base_url=hub.address.url, limits=limits, timeout=20) as client:
        yield client


async def _quiet(client: httpx2.AsyncClient, residents: Sequence[Resident], seen: Seen) -> None:
    """One after the other: each makes all of its calls, none of which is refused, and asks what the models
    say of its features alone.
    """
    for who in residents:
        for method, path, body in who.calls():
            answer = await client.request(method, path, json=body, headers=who.headers)
            assert answer.is_success, (path, answer.text)
        for model in MODELS:
            alone = await client.post("/api/v1/infer", json=who.ask(model), headers=who.headers)
            seen.forecast_alone(who, model, alone)


async def _busy(client: httpx2.AsyncClient, residents: Sequence[Resident], seen: Seen) -> None:
    """All calls, by callers at the same time."""
    calls = iter(range(CALLS))
    async with asyncio.TaskGroup() as group:
        for caller in range(CALLERS):
            group.create_task(_call(client, residents, seen, calls, rng=Random(caller)))


async def _call(
    client: httpx2.AsyncClient,
    residents: Sequence[Resident],
    seen: Seen,
    calls: Iterator[int],
    *,
    rng: Random,
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


async def _follow(hub: UpHub, seen: Seen, who: Resident) -> None:
    """The user's own stream, connected again whenever a death broke it."""
    stream = SignalStream(hub.address.url, who.token, since=0, account=None, rng=Random(who.canary))
    async for frame in stream.frames():
        seen.take_frame(who, frame)


async def _hurt(hub: UpHub, seen: Seen, hurt: Counter[str]) -> None:
    """Kill a replica, stop Redis for a while, and again, as the calls go on."""
    rng = Random(3)
    (store,) = [pid for pid in descendants(hub.process.pid) if "valkey" in " ".join(command_of(pid))]
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
