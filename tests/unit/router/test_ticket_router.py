"""The ticket router's own verdicts, on a router of Serve's without a Serve."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
from ray.serve.request_router import PendingRequest

from deployments.router import load_table
from deployments.router.ticket_router import TicketRouter
from models.card import ModelKey
from models.decision import Ticket
from models.errors import TicketRefused
from routing.load import LoadTable
from tests.support.cards import a_card

DEPLOYMENT = DeploymentID(name="pool-left", app_name="hub")


@dataclass
class FakeReplica:
    """What the router asks of a replica."""

    replica_id: ReplicaID
    max_ongoing_requests: int = 2
    node_id: str = "n"
    availability_zone: str | None = None
    multiplexed_model_ids: set[str] = field(default_factory=set)
    replica_metadata: dict[str, Any] = field(
        default_factory=lambda: {
            "pool": "left",
            "hardware": "cpu",
            "slots": 2,
            "models": {"ridge@1": [profile.model_dump() for profile in a_card().warm]},
        }
    )
    routing_stats: dict[str, Any] = field(default_factory=dict)

    async def get_queue_len(self, *, deadline_s: float) -> int:
        """Serve asks each newcomer for its queue."""
        return 0


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> LoadTable:
    """A load table for one test."""
    table = LoadTable()
    monkeypatch.setattr(load_table, "TABLE", table)
    return table


@pytest.fixture
async def router(table: LoadTable) -> TicketRouter:
    """A router that knows replicas `r1` and `r2`."""
    make: Any = TicketRouter
    router: TicketRouter = make(
        deployment_id=DEPLOYMENT,
        handle_source=DeploymentHandleSource.REPLICA,
        use_replica_queue_len_cache=True,
    )
    router.initialize_state(pool="left")
    update: Any = router.update_replicas
    update([FakeReplica(replica_id("r1")), FakeReplica(replica_id("r2"))])
    return router


def replica_id(unique: str) -> ReplicaID:
    """The id of a replica of the pool."""
    return ReplicaID(unique, DEPLOYMENT)


def a_request(replica: str) -> PendingRequest:
    """A call with a ticket to this replica."""
    ticket = Ticket(
        decision_id="d",
        attempt=1,
        model=ModelKey(name="ridge", version="1"),
        pool="left",
        replica=replica,
        deadline_ns=0,
        interval_level=0.9,
    )
    metadata = RequestMetadata(request_id="q", internal_request_id="i")
    return PendingRequest(args=[], kwargs={"ticket": ticket}, metadata=metadata)


async def test_sends_to_the_named_replica(router: TicketRouter) -> None:
    """The ticket's replica is chosen, whatever the other one's queue."""
    for name in ("r1", "r2", "r1"):
        chosen = await router._choose_replica_for_request(a_request(name))

        assert chosen.replica_id.unique_id == name


async def test_refuses_a_replica_that_is_gone(router: TicketRouter) -> None:
    """Nobody stands in for a replica that is not listed."""
    with pytest.raises(TicketRefused, match="r9 of pool left is gone"):
        await router._choose_replica_for_request(a_request("r9"))


async def test_refuses_after_a_rejection(router: TicketRouter) -> None:
    """When Serve asks again, the replica did not take the call: the caller decides anew."""
    with pytest.raises(TicketRefused, match="did not take the call"):
        await router._choose_replica_for_request(a_request("r1"), is_retry=True)


async def test_refuses_a_full_replica(router: TicketRouter) -> None:
    """A replica with as many calls as Serve allows it is not tried."""
    router.on_new_queue_len_info(replica_id("r1"), 2)

    with pytest.raises(TicketRefused, match="is full"):
        await router._choose_replica_for_request(a_request("r1"))
    other = await router._choose_replica_for_request(a_request("r2"))
    assert other.replica_id.unique_id == "r2"


async def test_tells_the_table_which_replicas_there_are(router: TicketRouter, table: LoadTable) -> None:
    """The table follows Serve's list, and a dead replica leaves it at once."""
    assert table.replicas("left") == ("r1", "r2")

    router.on_replica_actor_died(replica_id("r1"))

    assert table.replicas("left") == ("r2",)


async def test_tells_the_table_what_a_replica_was_given_since(router: TicketRouter, table: LoadTable) -> None:
    """A model that it was given at run time is there, and gone again when it is taken away."""
    update: Any = router.update_replicas
    warm = [profile.model_dump() for profile in a_card().warm]

    update([FakeReplica(replica_id("r1"), routing_stats={"models": {"new@1": warm}})])
    assert table.snapshot(time.time_ns()).placement.models == {"ridge@1", "new@1"}

    update([FakeReplica(replica_id("r1"))])
    assert table.snapshot(time.time_ns()).placement.models == {"ridge@1"}


async def test_tells_the_table_who_does_not_answer(router: TicketRouter, table: LoadTable) -> None:
    """A replica that is listed and cannot be reached is taken out of the choice for a while."""
    router.on_replica_actor_unavailable(replica_id("r1"))

    assert list(table.snapshot(time.time_ns()).ejections) == [0]
