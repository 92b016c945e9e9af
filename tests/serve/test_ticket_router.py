"""What is pinned down of Serve's private side: tickets, callback orders, a router's copied module."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest

from deployments.pool.config import PoolConfig
from deployments.router import load_table
from deployments.router.pools import ServeResponse
from deployments.router.replies import Refusal, Reply
from models.decision import Ticket
from models.errors import InferenceFailed, TicketRefused
from models.forecast import InferReply
from tests.serve import events
from tests.serve.client import Client, a_call, a_ticket
from tests.support.eventually import eventually

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]  # whoever comes first starts Ray

ORDERS: Mapping[str, list[str]] = {
    "actor": ["sent", "queue_len", "routed", "completed"],
    "grpc": ["sent", "completed", "queue_len", "routed"],
}


async def where(client: Client, ticket: Ticket) -> str:
    """The replica that answered."""
    return (await client.pools.send(a_call(), ticket).reply()).load.replica


def replicas(pool: str = "left") -> tuple[str, ...]:
    """The replicas that the process knows."""
    return load_table.TABLE.replicas(pool)


async def test_the_table_knows_every_replica_before_its_first_answer(client: Client) -> None:
    """Bringing up the handles fills the process-wide table, with what each replica said of itself."""
    placement = load_table.TABLE.snapshot(time.time_ns()).placement

    assert (len(replicas("left")), len(replicas("right"))) == (2, 2)
    assert {(meta.pool, meta.slots) for meta in placement.metas} == {("left", 2), ("right", 2)}
    assert set(placement.metas[0].models) == {"quick@1", "steady@1"}
    assert placement.metas[0].models["steady@1"][0].p50_ms == 2.0


async def test_a_ticket_is_obeyed(client: Client) -> None:
    """200 calls at once, each for a given replica: every one arrives exactly there."""
    wanted = [replica for _ in range(100) for replica in replicas()]
    for start in range(0, len(wanted), 4):
        batch = wanted[start : start + 4]
        answered = await asyncio.gather(*(where(client, a_ticket(replica)) for replica in batch))

        assert answered == batch


async def test_a_ticket_to_nobody_is_refused(client: Client) -> None:
    """A replica that is gone is never replaced by another: the caller decides again."""
    with pytest.raises(TicketRefused, match="is gone"):
        await where(client, a_ticket("nobody"))


async def test_a_ticket_to_an_unknown_pool_is_refused(client: Client) -> None:
    """A pool without a handle is refused by name."""
    with pytest.raises(TicketRefused, match="nowhere"):
        await where(client, a_ticket(replicas()[0], pool="nowhere"))


async def test_callbacks_come_in_the_known_order(client: Client, transport: str) -> None:
    """Serve reports an accepted call in one order per transport; over gRPC the end comes before the start."""
    replica = replicas()[0]
    await where(client, a_ticket(replica))
    await eventually(lambda: len(events.of("left", replica)) % len(ORDERS[transport]) == 0)
    before = len(events.of("left", replica))

    await where(client, a_ticket(replica))

    await eventually(lambda: len(events.of("left", replica)) >= before + len(ORDERS[transport]))
    assert events.of("left", replica)[before:] == ORDERS[transport]


async def test_a_full_replica_refuses_with_its_load(client: Client) -> None:
    """What a replica has no room for comes back as a typed refusal, long before Serve's own limit."""
    replica = replicas()[0]

    def send() -> asyncio.Future[Reply]:
        call = a_call(sleep_s=2.0, rows=PoolConfig(name="any", repository="any").batch_rows)  # runs alone
        return asyncio.ensure_future(client.pools.send(call, a_ticket(replica)).reply())

    async def full() -> bool:
        return await client.held(a_ticket(replica)) == (2, 2)

    held = [send() for _ in range(4)]
    await eventually(full)
    refused = await send()

    assert isinstance(refused, Refusal)
    assert refused.error.code == "replica_busy"
    assert (refused.load.in_service, refused.load.queued) == (2, 2)
    assert all(isinstance(reply, InferReply) for reply in await asyncio.gather(*held))


async def test_foreign_exceptions_become_ours(client: Client, transport: str) -> None:
    """An exception that is not of the hub's arrives as InferenceFailed on either transport."""
    routes = client.pools._routes["left"]
    handle = routes.by_reference if transport == "actor" else routes.by_value
    call = handle.options(method_name="fail").remote(ticket=a_ticket(replicas()[0]))

    with pytest.raises(InferenceFailed, match="not of the hub's"):
        await ServeResponse(call).reply()
