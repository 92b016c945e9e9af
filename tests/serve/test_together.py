"""Calls that are due together, over Serve: one handle call, to the replica that the ticket names."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from deployments.router import load_table
from deployments.router.outbox import Outbox
from deployments.router.replies import Refusal
from models.errors import InferenceFailed, TicketRefused
from models.forecast import InferReply
from tests.serve import events
from tests.serve.client import Client, a_call, a_ticket, pids
from tests.serve.replicas import a_window
from tests.support.eventually import eventually

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]  # whoever comes first starts Ray

MANY = 1 << 20


async def test_they_travel_as_one_and_come_back_apart(client: Client) -> None:
    """Serve's router sees one call; each caller has its own answer, the one that failed its own refusal."""
    process_of = await pids(client)
    replica = load_table.TABLE.replicas("left")[0]
    outbox, before = Outbox(client.pools, most_bytes=MANY), _sent(replica)

    calls = [a_call(), replace(a_call(), window=a_window(fail=True)), a_call()]
    responses = [outbox.send(call, a_ticket(replica)) for call in calls]
    good, bad, also_good = await asyncio.gather(*(response.reply() for response in responses))

    assert _sent(replica) == before + 1
    for reply in (good, also_good):
        assert isinstance(reply, InferReply)
        assert reply.forecasts[0].q50 == process_of[replica]
    assert isinstance(bad, Refusal)
    assert isinstance(bad.error, InferenceFailed)


async def test_they_are_refused_together_where_the_replica_is_gone(client: Client) -> None:
    """The ticket of calls that travel together is as strict as that of one."""
    outbox = Outbox(client.pools, most_bytes=MANY)
    responses = [outbox.send(a_call(), a_ticket("nobody")) for _ in range(3)]

    outcomes = await asyncio.gather(*(one.reply() for one in responses), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [TicketRefused] * 3


async def test_who_gives_up_is_not_waited_for(client: Client) -> None:
    """One of two callers leaves at once; the other gets its answer when the run has ended."""
    replica = load_table.TABLE.replicas("left")[0]
    before = _sent(replica)
    outbox = Outbox(client.pools, most_bytes=MANY)
    leaves, stays = (
        asyncio.ensure_future(outbox.send(a_call(sleep_s=0.3), a_ticket(replica)).reply()) for _ in range(2)
    )
    await eventually(lambda: _sent(replica) > before)
    begun = time.monotonic()

    leaves.cancel()
    await asyncio.wait([leaves])

    assert time.monotonic() - begun < 0.15
    assert isinstance(await stays, InferReply)


def _sent(replica: str) -> int:
    """How many calls Serve's router has sent to the replica from this process."""
    return events.of("left", replica).count("sent")
