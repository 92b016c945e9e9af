"""What the routed client asks of its surroundings: pools to call, and a catalogue to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from deployments.router.replies import Reply
from models.decision import Ticket
from models.forecast import InferCall
from routing.catalogue import Catalogue


class Response(Protocol):
    """A call on its way to a replica."""

    async def reply(self) -> Reply:
        """What the replica answers. Raises a HubError if there was no answer, whatever the transport."""
        ...

    def cancel(self) -> None:
        """Stop the call, also on its replica."""
        ...


class Pools(Protocol):
    """Where calls go; `ServePools` in the hub."""

    @property
    def ready(self) -> bool:
        """Whether every pool has been seen, or waited for."""
        ...

    def send(self, call: InferCall, ticket: Ticket) -> Response:
        """Start the call at exactly the ticket's replica. Raises TicketRefused for a pool nobody knows."""
        ...


class Responses(Protocol):
    """Several calls on their way to a replica as one."""

    async def reply(self) -> list[Reply]:
        """One reply per call, in their order. Raises as a single call's does."""
        ...

    def cancel(self) -> None:
        """Stop all of them."""
        ...


class BulkPools(Pools, Protocol):
    """Pools that take several calls at once."""

    def send_many(self, calls: Sequence[InferCall], ticket: Ticket) -> Responses:
        """Start calls with little data at the ticket's replica, as `send` does with one."""
        ...


class CatalogueSource(Protocol):
    """Where the current catalogue is; `CatalogueTail` is one."""

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def complete(self) -> bool:
        """Whether it was read to its end at least once."""
        ...
