"""Grants what tenants may have at a time, as leases that end by themselves.

Whoever holds a lease renews it or loses it: what a crashed holder held is free when its lease expires, and
nobody has to notice the crash.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, Protocol

from deployments.control.changes import Changes
from deployments.control.quotas.lease_batches import End, LeaseBatches, LimitsOf, Renewal, Witness
from deployments.control.quotas.requirements import checked
from models.audit import Outcome
from models.errors import Conflict, DatabaseAway, NotFound, QuotaExceeded
from models.ids import random_id
from models.resources import UNITS, Availability, Lease, Limits, Resource, Shortage, Standing
from storage.postgres import resources
from storage.postgres.database import Database
from storage.postgres.resources import Decided, Refusal, Request

_LOG: Final = logging.getLogger("ray.serve")
TTL_S: Final = 60.0
_NS: Final = 1_000_000_000


class Leased(Protocol):
    """What names a lease: a `Lease` does."""

    @property
    def tenant_id(self) -> str: ...

    @property
    def lease_id(self) -> str: ...


class TenantResourceManager:
    """`limits_of` says what a tenant may hold now, `witness` hears of refusals, `rng` makes ids. Without
    `clock` (wall time in ns) leases expire by the database's clock, which all processes share.
    """

    def __init__(
        self,
        database: Database,
        limits_of: LimitsOf,
        witness: Witness,
        *,
        rng: Random,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._database = database
        self._limits_of = limits_of
        self._rng = rng
        self._clock = clock
        self._batches = LeaseBatches(database, limits_of, witness, clock=clock)
        self._unwanted: set[asyncio.Task[Decided]] = set()

    async def check_resource_availability(
        self, tenant_id: str, requirements: Mapping[Any, int]
    ) -> Availability:
        """Whether this could be had now. It sets nothing aside: to have it, allocate it."""
        wanted = checked(requirements)
        limits, used = await self._standing(tenant_id)
        shortages = [
            Shortage(resource=resource, limit=limits[resource], in_use=used.get(resource, 0), asked=amount)
            for resource, amount in wanted.items()
            if used.get(resource, 0) + amount > limits[resource]
        ]
        return Availability(available=not shortages, shortages=tuple(shortages))

    async def allocate_resource(
        self,
        tenant_id: str,
        requirements: Mapping[Any, int],
        *,
        holder: str,
        ttl_s: float = TTL_S,
        lease_id: str | None = None,
    ) -> Lease:
        """All of it or nothing, for `ttl_s` seconds.

        A repeat under the caller's own `lease_id` gets the lease that it got before, as it is now. Without an
        id the lease goes with the caller who gives up waiting.

        Raises:
            QuotaExceeded: names what there is too little of; `retry_after_s` is when enough of it will have
                expired, if it will.
            Conflict: the id is that of a lease of somebody else, or of other amounts.
        """
        request = Request(
            lease_id=lease_id or random_id(self._rng),
            holder=holder,
            requirements=checked(requirements),
            ttl_ns=int(ttl_s * _NS),
        )
        try:
            decided = await self._batches.decided(tenant_id, request)
        except asyncio.CancelledError:
            if lease_id is None:
                self._give_back(tenant_id, request.lease_id)
            raise
        if request.lease_id in decided.refused:
            raise exceeded(decided.refused[request.lease_id], decided)
        return _same(decided.held[request.lease_id], request)

    async def renew_lease(self, lease: Leased, *, ttl_s: float = TTL_S) -> Lease:
        """Let it last `ttl_s` seconds from now, also where the limit was lowered below what is held.

        Raises:
            NotFound: it expired, was released, or never was; what it held may be somebody else's by now.
            QuotaExceeded: the tenant may have nothing of this any more.
        """
        decided = await self._batches.decided(lease.tenant_id, Renewal(lease.lease_id, int(ttl_s * _NS)))
        if lease.lease_id in decided.barred:
            raise QuotaExceeded(
                f"the lease {lease.lease_id} is not renewed: the tenant may have nothing of what it holds"
            )
        if lease.lease_id not in decided.renewed:
            raise NotFound("there is nothing of that name for you")
        return decided.renewed[lease.lease_id]

    async def release_resource(self, lease: Leased) -> bool:
        """Give it back; whether there was anything to give back. Twice does no harm."""
        decided = await self._batches.decided(lease.tenant_id, End(lease.lease_id))
        return lease.lease_id in decided.ended

    async def standings(self, tenant_id: str) -> tuple[Standing, ...]:
        """How the tenant stands with every resource."""
        limits, used = await self._standing(tenant_id)
        return tuple(
            Standing(
                resource=resource, unit=UNITS[resource], limit=limits[resource], in_use=used.get(resource, 0)
            )
            for resource in Resource
        )

    async def close(self) -> None:
        """Stop deciding; whoever waits is cancelled."""
        await self._batches.close()
        await asyncio.gather(*self._unwanted, return_exceptions=True)

    async def _standing(self, tenant_id: str) -> tuple[Limits, Mapping[Resource, int]]:
        limits = await self._limits_of(tenant_id)
        async with self._database.tenant(tenant_id) as connection:
            used = await resources.in_use(connection, now_ns=self._clock() if self._clock else None)
        return limits, used

    def _give_back(self, tenant_id: str, lease_id: str) -> None:
        """What nobody waits for any more, should it be granted all the same: this comes after it."""
        task = asyncio.create_task(self._batches.decided(tenant_id, End(lease_id)))
        self._unwanted.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Decided]) -> None:
        self._unwanted.discard(task)
        if not task.cancelled() and task.exception():
            _LOG.warning("a lease that nobody waits for is held until it expires: %s", task.exception())


class RefusalLog:
    """Writes down in the tenant's audit log what was refused, in a transaction of its own."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def refused(self, tenant_id: str, refusals: Sequence[tuple[Request, Refusal]]) -> None:
        """The refusals stand, whether they can be written down or not."""
        by_holder = itertools.groupby(sorted(refusals, key=_holder), key=_holder)
        try:
            for holder, group in by_holder:
                async with self._changes.of(tenant_id, actor=holder) as change:
                    for request, refusal in group:
                        what, facts = f"lease/{request.lease_id}", refusal.shortage.model_dump(mode="json")
                        await change.note("resources.allocate", what, outcome=Outcome.DENIED, **facts)
        except DatabaseAway:
            _LOG.warning("%d refused leases are not in the audit: the database is away", len(refusals))


def exceeded(refusal: Refusal, decided: Decided) -> QuotaExceeded:
    """The error of a request that was not granted."""
    short = refusal.shortage
    unit = UNITS[short.resource]
    wait_s = None if refusal.free_ns is None else max(0.0, (refusal.free_ns - decided.now_ns) / _NS)
    return QuotaExceeded(
        f"{short.asked} of {short.resource} ({unit}) were asked for, but {short.in_use} of {short.limit} are"
        " in use; release some, ask for less, or have the limit raised",
        field=f"requirements.{short.resource}",
        retry_after_s=wait_s,
        details=short.model_dump(mode="json") | {"unit": unit},
    )


def _same(lease: Lease, request: Request) -> Lease:
    if lease.holder != request.holder or lease.requirements != request.requirements:
        raise Conflict(
            f"the lease {request.lease_id} is held by somebody else or for other amounts; choose another id",
            field="lease_id",
        )
    return lease


def _holder(refused: tuple[Request, Any]) -> str:
    return refused[0].holder
