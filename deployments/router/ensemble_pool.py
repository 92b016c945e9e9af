"""The pool of ensembles inside the caller: a call becomes one to each member, and their answers its reply.

`EnsembleOffers` says which there are and how much each member counts; `EnsembleCall` asks and combines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployments.router.calls import Work
from deployments.router.ensemble_call import EnsembleCall
from deployments.router.ensemble_members import Members
from deployments.router.ensemble_offers import EnsembleOffers
from deployments.router.ports import Response
from models.decision import Ticket
from models.errors import TicketRefused
from models.forecast import InferCall


@dataclass(frozen=True, slots=True)
class EnsemblePool:
    """Ensembles in this process. Belongs to one event loop."""

    offers: EnsembleOffers
    members: Members
    clock: Callable[[], int]

    def send(self, work: Work, call: InferCall, ticket: Ticket) -> Response:
        """A call with the weights of now. TicketRefused if its ensemble is not offered any more."""
        standing = self.offers.standing(call.model)
        if standing is None or standing.reports.replica != ticket.replica:
            raise TicketRefused(f"{call.model} was retired, or none of its members has a weight any more")
        return EnsembleCall(standing, self.members, work, call, self.clock)
