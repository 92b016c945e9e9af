"""Replicas that die, hang or stop while they hold calls; and pools that go away."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from deployments.router import load_table
from models.errors import DeadlineExpired
from tests.serve.client import Client, pids
from tests.serve.replicas import a_window
from tests.support.eventually import eventually

pytestmark = pytest.mark.serve


async def test_a_killed_replica_costs_a_second_attempt(client: Client) -> None:
    """Kill -9 of a replica that holds calls: each is answered elsewhere, no caller sees an error."""
    process_of = await pids(client)
    calls = [asyncio.create_task(client.infer(a_window(sleep_s=1.0))) for _ in range(8)]
    victim = await eventually(lambda: next(iter(client.busy()), ""))
    await asyncio.sleep(0.4)

    os.kill(process_of[victim], signal.SIGKILL)
    answers = await asyncio.gather(*calls)

    assert all(answer.decision.replica != victim for answer in answers)
    assert sorted({answer.decision.attempt for answer in answers}) == [1, 2]
    again = [await client.infer() for _ in range(10)]
    assert {answer.decision.attempt for answer in again} == {1}
    assert victim not in {answer.decision.replica for answer in again}


async def test_a_replacement_is_used(client: Client) -> None:
    """Serve starts another replica for a dead one; the table learns of it and calls reach it."""
    process_of = await pids(client)
    victim = min(process_of)
    os.kill(process_of[victim], signal.SIGKILL)
    pool = "left" if victim in load_table.TABLE.replicas("left") else "right"

    def replaced() -> str | None:
        now = set(load_table.TABLE.replicas(pool)) - set(process_of)
        return next(iter(now), None) if victim not in load_table.TABLE.replicas(pool) else None

    newcomer = await eventually(replaced, timeout_s=60)

    assert newcomer in await pids(client)


async def test_a_timeout_stops_the_call_on_its_replica(client: Client) -> None:
    """At the deadline the caller gets DeadlineExpired, and the call is cancelled where it runs."""
    before = await client.stopped()
    begun = time.monotonic()
    with pytest.raises(DeadlineExpired):
        await client.infer(a_window(sleep_s=3.0), within_s=0.5)

    assert time.monotonic() - begun < 2

    async def one_more() -> bool:
        return await client.stopped() == before + 1

    await eventually(one_more)
