"""Replicas that die or are given up while they hold calls."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from statistics import median

import pytest

from models.errors import DeadlineExpired, ReplicaError
from tests.serve import events
from tests.serve.client import Client, forget, pids
from tests.serve.conftest import POOLS
from tests.serve.replicas import a_window
from tests.support.arrivals import next_arrival
from tests.support.eventually import eventually

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]  # whoever comes first starts Ray

ALL = 2 * len(POOLS)
GIVEN_UP = 20


async def settled(client: Client) -> dict[str, int]:
    """Process ids of all replicas, once each pool is complete and every listed replica answers."""

    async def complete() -> dict[str, int] | None:
        try:
            found = await pids(client)
        except ReplicaError:
            return None
        return found if len(found) == ALL else None

    return await eventually(complete, timeout_s=90) or {}


async def test_a_killed_replica_costs_a_second_attempt(client: Client) -> None:
    """Kill -9 of a replica that holds calls: they are answered elsewhere and no caller sees an error; the
    corpse is avoided from then on, and Serve's replacement is found.
    """
    process_of = await settled(client)
    forget()
    before = events.count("sent")
    calls = [asyncio.create_task(client.infer(a_window(sleep_s=1.0))) for _ in range(ALL)]
    await eventually(lambda: events.count("sent") == before + ALL)
    victim = client.busy()[0]

    os.kill(process_of[victim], signal.SIGKILL)
    answers = await asyncio.gather(*calls)
    after = [await client.infer() for _ in range(10)]

    assert victim not in {answer.decision.replica for answer in answers}
    assert {answer.decision.attempt for answer in answers} == {1, 2}
    assert victim not in {answer.decision.replica for answer in after}
    assert {answer.decision.attempt for answer in after} == {1}
    assert len(set(await settled(client)) - set(process_of)) == 1


async def test_a_timeout_stops_the_call_on_its_replica(client: Client) -> None:
    """At the deadline the caller gets DeadlineExpired, and the call is cancelled where it runs; so is the one
    that was to rescue it.
    """
    await settled(client)
    before = len(await client.stopped())
    sent, begun = events.count("sent"), time.monotonic()
    with pytest.raises(DeadlineExpired):
        await client.infer(a_window(sleep_s=6.0), within_s=3.0)

    assert time.monotonic() - begun < 5
    made = events.count("sent") - sent
    assert 1 <= made <= 2

    async def all_stopped() -> bool:
        return len(await client.stopped()) == before + made

    await eventually(all_stopped)


async def test_giving_up_reaches_the_replica_at_once(client: Client) -> None:
    """A call that its caller gives up is cancelled where it is within 20 ms, as a rule (scorecard R20)."""
    await settled(client)
    took_ms = [await _given_up_ms(client) for _ in range(GIVEN_UP)]

    assert median(took_ms) <= 20.0, took_ms


async def _given_up_ms(client: Client) -> float:
    """From the moment that a call is given up until its replica has stopped it."""
    before = len(await client.stopped())
    call = asyncio.create_task(client.infer(a_window(sleep_s=0.3)))
    await next_arrival(20.0)  # by when it runs there

    begun_ns = time.time_ns()
    call.cancel()
    await eventually(lambda: _stopped_more(client, before))
    return ((await client.stopped())[-1] - begun_ns) / 1e6


async def _stopped_more(client: Client, before: int) -> bool:
    return len(await client.stopped()) > before
