"""All pools of a process as one: the one inside it, if any, and those behind handles."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.router.local_pool import LocalPool
from deployments.router.names import LOCAL_POOL
from deployments.router.ports import Pools, Response
from models.decision import Ticket
from models.forecast import InferCall


@dataclass(frozen=True, slots=True)
class RoutedPools:
    """Sends a call where its ticket says."""

    remote: Pools
    local: LocalPool | None

    @property
    def ready(self) -> bool:
        return self.remote.ready and (self.local is None or self.local.ready)

    def send(self, call: InferCall, ticket: Ticket) -> Response:
        if self.local and ticket.pool == LOCAL_POOL:
            return self.local.send(call, ticket)
        return self.remote.send(call, ticket)
