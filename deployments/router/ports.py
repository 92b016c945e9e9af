"""What the routed client asks of its surroundings: pools to call, and a catalogue to choose from."""

from __future__ import annotations

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


class CatalogueSource(Protocol):
    """Where the current catalogue is; `CatalogueTail` is one."""

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def complete(self) -> bool:
        """Whether it was read to its end at least once."""
        ...
