"""A routed client whose models are all in its own process: the shipped engine and models, no Serve."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from deployments.router.config import LocalConfig
from deployments.router.local_pool import LocalPool
from deployments.router.opening import assemble
from deployments.router.ports import Response
from deployments.router.routed_client import RoutedClient
from deployments.router.routed_pools import RoutedPools
from inference.cards import CARD_FILE, read_card
from models.decision import Ticket
from models.errors import TicketRefused
from models.forecast import InferCall
from models.metrics import Meter
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import LoadTable
from routing.profiles import load_profiles
from serve_app.settings import ROOT

REPOSITORY: Final = ROOT / "model_repository"


async def local_router(meter: Meter) -> RoutedClient:
    """Ready to route among the small models of the repository."""
    load, clock, rng = LoadTable(), time.time_ns, SystemRandom()
    local = LocalPool(LocalConfig(repository=str(REPOSITORY)), load, clock=clock, rng=rng, meter=meter)
    await local.open()
    return assemble(
        engine=Engine(load_profiles((ROOT / "config" / "profiles.yaml").read_text())),
        pools=RoutedPools(_Nowhere(), local),
        source=_Cards(_catalogue()),
        load=load,
        clock=clock,
        rng=rng,
        meter=meter,
    )


def _catalogue() -> Catalogue:
    cards = [read_card(path.parent) for path in sorted(REPOSITORY.glob(f"*/*/{CARD_FILE}"))]
    return Catalogue.of(cards, version=1)


@dataclass(frozen=True)
class _Cards:
    catalogue: Catalogue
    complete: bool = True


class _Nowhere:
    """There are no replicas elsewhere."""

    ready = True

    def send(self, call: InferCall, ticket: Ticket) -> Response:
        raise TicketRefused(f"nobody holds {call.model} but this process")
