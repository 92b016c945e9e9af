"""Calls from within one Serve request, where all of them share Serve's internal request id."""

from __future__ import annotations

import pytest
from ray import serve

from tests.serve.client import Client, pids

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]  # whoever comes first starts Ray


async def test_a_replica_brings_its_pools_up(applications: None, transport: str) -> None:
    """A client opened while a replica starts is ready when the replica is."""
    caller = serve.get_app_handle(f"caller-{transport}")

    assert await caller.ready.remote() is True


async def test_the_router_is_a_copy_and_the_table_is_not(applications: None, transport: str) -> None:
    """Serve copies a router's module by value into a replica; what it writes reaches the one table."""
    caller = serve.get_app_handle(f"caller-{transport}")

    assert await caller.router_is_a_copy.remote() is True
    assert await caller.seen.remote() == {"left": 2, "right": 2}


async def test_calls_of_one_request_do_not_hang(client: Client, transport: str) -> None:
    """Twelve routed calls at once from one request all return, each from the replica that was chosen."""
    caller = serve.get_app_handle(f"caller-{transport}")
    process_of = await pids(client)

    answers = await caller.routed.remote(12, sleep_s=0.05)

    assert len(answers) == 12
    assert all(process_of[replica] == process for replica, process in answers)


async def test_calls_without_a_ticket_do_not_hang(client: Client, transport: str) -> None:
    """Ticketless calls of one request are left to Serve's own choice, which answers all of them."""
    caller = serve.get_app_handle(f"caller-{transport}")
    process_of = await pids(client)

    answered = await caller.unrouted.remote(12)

    assert len(answered) == 12
    assert set(answered) <= set(process_of.values())
