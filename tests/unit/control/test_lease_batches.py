"""How waiting callers are gathered, without a database."""

from __future__ import annotations

import asyncio
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from deployments.control.quotas.lease_batches import End, Order, Renewal, _Waiting, batch_of, taken
from models.resources import Resource
from storage.postgres.resources import Request


def request(lease_id: str) -> Request:
    """One of one."""
    return Request(lease_id, "alice", {Resource.MODELS: 1}, 10**9)


ORDERS: st.SearchStrategy[Order] = st.sampled_from("abcd").flatmap(
    lambda name: st.sampled_from([request(name), Renewal(name, 1), End(name)])
)


async def _waiting(orders: list[Order]) -> deque[_Waiting]:
    loop = asyncio.get_running_loop()
    return deque(_Waiting(order, loop.create_future()) for order in orders)


@given(st.lists(ORDERS, max_size=300))
def test_everybody_gets_a_turn_and_no_lease_is_named_twice_in_one(orders: list[Order]) -> None:
    """Batch by batch until nobody waits: each order once, those of one lease in the order they came."""

    async def drained() -> list[list[Order]]:
        queue, batches = await _waiting(orders), []
        while queue:
            batches.append([waiting.order for waiting in taken(queue)])
        return batches

    batches = asyncio.run(drained())
    for batch in batches:
        assert 0 < len(batch) == len({order.lease_id for order in batch}) <= 128
    served = [order for batch in batches for order in batch]
    for lease_id in "abcd":
        asked = [order for order in orders if order.lease_id == lease_id]
        assert [order for order in served if order.lease_id == lease_id] == asked


async def test_who_went_away_is_not_decided() -> None:
    """A caller that gave up before its turn takes nothing."""
    queue = await _waiting([request("a"), request("b")])
    queue[0].decided.cancel()

    assert [waiting.order.lease_id for waiting in taken(queue)] == ["b"]


def test_orders_are_sorted_by_kind_in_the_order_they_came() -> None:
    """The statement takes three lists."""
    batch = batch_of([request("a"), End("b"), Renewal("c", 5), request("d")])

    assert [one.lease_id for one in batch.requests] == ["a", "d"]
    assert (batch.ends, batch.renewals) == (["b"], {"c": 5})
