"""The shipped ticket router, noting which of its callbacks Serve calls, and in which order."""

from __future__ import annotations

from typing import Any

from ray.serve._private.common import ReplicaID
from ray.serve.config import RequestRouterConfig

from deployments.router.ticket_router import TicketRouter, ticket_routing
from tests.serve import events


class RecordingRouter(TicketRouter):
    """Notes the callbacks in `events`, then does what the shipped router does."""

    def on_send_request(self, replica_id: ReplicaID) -> None:
        super().on_send_request(replica_id)
        self._note("sent", replica_id)

    def on_new_queue_len_info(self, replica_id: ReplicaID, num_ongoing_requests: int) -> None:
        super().on_new_queue_len_info(replica_id, num_ongoing_requests)
        self._note("queue_len", replica_id)

    def on_request_routed(self, pending_request: Any, replica_id: ReplicaID, result: Any) -> None:
        super().on_request_routed(pending_request, replica_id, result)
        self._note("routed", replica_id)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        super().on_request_completed(replica_id, internal_request_id)
        self._note("completed", replica_id)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._note("died", replica_id)

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_unavailable(replica_id)
        self._note("unavailable", replica_id)

    def _note(self, callback: str, replica_id: ReplicaID) -> None:
        events.note(self._pool, callback, replica_id.unique_id)


def recorded_routing(pool: str) -> RequestRouterConfig:
    """The shipped configuration with the recording router in it."""
    config = ticket_routing(pool)
    return RequestRouterConfig(
        request_router_class=RecordingRouter,  # type: ignore[arg-type]  # declared too narrowly
        request_router_kwargs=config.request_router_kwargs,
    )
