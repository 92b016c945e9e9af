"""How Serve is made to send a call to exactly the replica that its ticket names.

Serve pickles this module by value into every process that calls a pool: nothing here may hold state or be
compared by identity. What the process believes of its replicas is in `load_table.py`, which is imported and
therefore shared. Everything private of Serve that this class touches is pinned by `tests/serve`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ray.serve._private.common import ReplicaID
from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import PendingRequest, RunningReplica

from deployments.router import load_table
from models.decision import Ticket
from models.errors import TicketRefused

_STATS_PERIOD_S: Final = 0.5
"""How soon callers hear which models a replica was given at run time; without changes nothing is told."""


class TicketRouter(PowerOfTwoChoicesRequestRouter):
    """Sends a call with a ticket to its replica or refuses it; other calls are left to Serve's own choice.

    Serve runs the methods on the thread of its router, beside the user's code: the load table bears that.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        self._pool: str = kwargs["pool"]

    async def _choose_replica_for_request(
        self, pending_request: PendingRequest, *, is_retry: bool = False
    ) -> RunningReplica:
        ticket = _ticket_of(pending_request)
        if ticket is None:
            return await super()._choose_replica_for_request(pending_request, is_retry=is_retry)
        replica = self._replica_named(ticket.replica)
        if replica is None:
            raise TicketRefused(f"replica {ticket.replica} of pool {self._pool} is gone")
        if is_retry:
            # Serve asks again after a rejection, or after the connection broke before anything was accepted.
            raise TicketRefused(f"replica {ticket.replica} of pool {self._pool} did not take the call")
        if not self.select_available_replicas([replica]):
            raise TicketRefused(f"replica {ticket.replica} of pool {self._pool} is full")
        return replica

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._publish(replicas)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._publish(self.curr_replicas.values())

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_unavailable(replica_id)
        load_table.unreachable(replica_id.unique_id)

    def _publish(self, replicas: Iterable[RunningReplica]) -> None:
        load_table.publish(
            self._pool,
            [(item.replica_id.unique_id, item.replica_metadata, item.routing_stats) for item in replicas],
        )

    def _replica_named(self, unique_id: str) -> RunningReplica | None:
        return next((r for id_, r in self.curr_replicas.items() if id_.unique_id == unique_id), None)


def _ticket_of(pending: PendingRequest) -> Ticket | None:
    ticket: Any = pending.kwargs.get("ticket")
    return ticket if isinstance(ticket, Ticket) else None


def ticket_routing(pool: str) -> RequestRouterConfig:
    """Makes a pool's callers obey tickets."""
    return RequestRouterConfig(
        request_router_class=TicketRouter,  # type: ignore[arg-type]  # declared too narrowly
        request_router_kwargs={"pool": pool},
        request_routing_stats_period_s=_STATS_PERIOD_S,  # type: ignore[arg-type]  # likewise
    )
