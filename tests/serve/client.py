"""A routed client over the scripted pools, as a gateway or a forecaster would hold it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deployments.router import load_table
from deployments.router.opening import assemble
from deployments.router.pools import ServePools, ServeResponse
from deployments.router.routed_client import RoutedClient
from models.answer import Answer
from models.card import ModelCard, ModelKey
from models.decision import Ticket
from models.forecast import InferCall
from models.ids import random_id
from models.metrics import MemoryMeter
from models.request import Requirements
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.profiles import load_profiles
from tests.serve.replicas import CARDS, a_window

PROFILES: Final = Path(__file__).parents[2] / "config" / "profiles.yaml"
BY_VALUE, BY_REFERENCE = 1 << 30, 0
"""From how many bytes on a call goes by reference: never (gRPC), or always (actor calls)."""


@dataclass(frozen=True)
class FixedCatalogue:
    """The scripted models, without a broker."""

    catalogue: Catalogue
    complete: bool = True


@dataclass(frozen=True)
class Client:
    """A routed client with its parts at hand."""

    router: RoutedClient
    pools: ServePools
    meter: MemoryMeter

    async def infer(
        self, window: NDArray[np.float32] | None = None, *, within_s: float = 20.0, model: str | None = None
    ) -> Answer:
        """One routed call."""
        rows = a_window() if window is None else window
        return await self.router.infer(
            wanted(within_s=within_s, model=model),
            rows,
            np.zeros((len(rows), len(CONTEXT_FEATURES)), np.float32),
            traceparent="",
        )

    async def pid(self, ticket: Ticket) -> int:
        """Process id of the ticket's replica."""
        return int(await self._ask("pid", ticket))

    async def held(self, ticket: Ticket) -> tuple[int, int]:
        """How many calls run and wait on the ticket's replica."""
        running, waiting = await self._ask("held", ticket)
        return running, waiting

    async def stopped(self) -> list[int]:
        """When calls were cancelled on the replicas, in order; wall nanoseconds."""
        placement = load_table.TABLE.snapshot(time.time_ns()).placement
        pairs = zip(placement.replicas, placement.metas, strict=True)
        tickets = [a_ticket(replica, pool=meta.pool) for replica, meta in pairs]
        return sorted([at_ns for ticket in tickets for at_ns in await self._ask("stopped", ticket)])

    def busy(self) -> list[str]:
        """Replicas that hold a call, as far as this process knows."""
        now = load_table.TABLE.snapshot(time.time_ns())
        standings = zip(now.placement.replicas, now.standings, strict=True)
        return [replica for replica, standing in standings if standing.calls >= 1.0]

    async def _ask(self, method: str, ticket: Ticket) -> Any:
        handle = self.pools._routes[ticket.pool].by_value
        return await ServeResponse(handle.options(method_name=method).remote(ticket=ticket)).reply()


def a_client(names: Sequence[str], *, by_reference_from: int, cards: Sequence[ModelCard] = CARDS) -> Client:
    """A client of these models whose pools are yet to be opened, in the loop that will use it."""
    pools = ServePools(
        names,
        by_reference_from=by_reference_from,
        seen=lambda pool: bool(load_table.TABLE.replicas(pool)),
    )
    meter = MemoryMeter()
    router = assemble(
        engine=Engine(load_profiles(PROFILES.read_text(encoding="utf-8"))),
        pools=pools,
        source=FixedCatalogue(Catalogue.of(cards, version=1)),
        load=load_table.TABLE,
        clock=time.time_ns,
        rng=Random(7),
        meter=meter,
    )
    return Client(router, pools, meter)


def wanted(*, within_s: float = 20.0, model: str | None = None) -> Requirements:
    """A small request that any scripted model may answer."""
    return Requirements(
        task=TIME_SERIES_FORECAST.name,
        rows=1,
        data_size=DataSize.SMALL,
        deadline_ns=time.time_ns() + int(within_s * 1e9),
        profile="performance_optimized",
        model=model,
    )


def a_ticket(replica: str, *, pool: str = "left") -> Ticket:
    """A ticket to this replica, as a decision would give it."""
    return Ticket(
        decision_id=random_id(Random()),
        attempt=1,
        model=ModelKey(name="quick", version="1"),
        pool=pool,
        replica=replica,
        deadline_ns=time.time_ns() + 20_000_000_000,
        interval_level=0.9,
    )


def a_call(*, sleep_s: float = 0.0, rows: int = 1) -> InferCall:
    """A call of so many windows."""
    return InferCall(
        call_id=random_id(Random()),
        model="quick@1",
        window=a_window(sleep_s=sleep_s, rows=rows),
        context=np.zeros((rows, len(CONTEXT_FEATURES)), np.float32),
        interval_level=0.9,
        deadline_ns=time.time_ns() + 20_000_000_000,
        traceparent="",
    )


def forget() -> None:
    """Let the process believe of every replica what it would if it had just been told of it: calls of earlier
    tests that slept taught it that some are slow.
    """
    placement, now_ns = load_table.TABLE.snapshot(time.time_ns()).placement, time.time_ns()
    members = list(zip(placement.replicas, placement.metas, strict=True))
    for pool in {meta.pool for meta in placement.metas}:
        load_table.TABLE.replicas_updated(pool, [], now_ns=now_ns)
        alike = [(replica, meta) for replica, meta in members if meta.pool == pool]
        load_table.TABLE.replicas_updated(pool, alike, now_ns=now_ns)


async def pids(client: Client) -> dict[str, int]:
    """Process id of every replica that the process knows, asked by ticket."""
    placement = load_table.TABLE.snapshot(time.time_ns()).placement
    return {
        replica: await client.pid(a_ticket(replica, pool=meta.pool))
        for replica, meta in zip(placement.replicas, placement.metas, strict=True)
    }
