"""Callers who wait at the same time are decided together: one transaction for all who ask of one tenant.

While a batch of a tenant is at the database the next one gathers, so a batch is as large as the database is
slow, and nobody waits for a batch to fill. A tenant has one batch under way in this process; other processes
take turns with it at the tenant's row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from models.errors import Shed
from models.resources import Limits
from storage.postgres.database import Database
from storage.postgres.resources import Batch, Decided, Refusal, Request, decide

_AT_ONCE: Final = 4
"""Batches of different tenants; each has a connection, of which others need some, too."""
_LARGEST: Final = 128
_MOST_WAITING: Final = 2_000


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease that shall last `ttl_ns` from now."""

    lease_id: str
    ttl_ns: int


@dataclass(frozen=True, slots=True)
class End:
    """A lease that is given back."""

    lease_id: str


Order = Request | Renewal | End
LimitsOf = Callable[[str], Awaitable[Limits]]
"""What a tenant may hold now; NotFound if there is none."""


class Witness(Protocol):
    """Is told what was refused, before those who asked are."""

    async def refused(self, tenant_id: str, refusals: Sequence[tuple[Request, Refusal]]) -> None: ...


class _Waiting(NamedTuple):
    order: Order
    decided: asyncio.Future[Decided]


class LeaseBatches:
    """`decided` waits for the batch that holds the order. Without `clock` (wall time in ns) what has expired
    is decided by the database's.
    """

    def __init__(
        self, database: Database, limits_of: LimitsOf, witness: Witness, *, clock: Callable[[], int] | None
    ) -> None:
        self._database = database
        self._limits_of = limits_of
        self._witness = witness
        self._clock = clock
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def decided(self, tenant_id: str, order: Order) -> Decided:
        """The verdicts of the batch that this order was in.

        Raises:
            Shed: too many wait already.
            DatabaseAway: nothing was decided, unless the database went away at the very commit.
        """
        queue = self._waiting.setdefault(tenant_id, deque())
        if len(queue) >= _MOST_WAITING:
            raise Shed("too many wait for this tenant's leases; try again", retry_after_s=1.0)
        future: asyncio.Future[Decided] = asyncio.get_running_loop().create_future()
        queue.append(_Waiting(order, future))
        if tenant_id not in self._tasks:
            self._tasks[tenant_id] = asyncio.create_task(self._drain(tenant_id))
        return await future

    async def close(self) -> None:
        """Give up; whoever still waits is cancelled."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self, tenant_id: str) -> None:
        queue = self._waiting[tenant_id]
        try:
            while queue:
                async with self._turns:
                    await self._settle(tenant_id, taken(queue))
        finally:
            del self._waiting[tenant_id], self._tasks[tenant_id]
            for waiting in queue:
                waiting.decided.cancel()

    async def _settle(self, tenant_id: str, batch: Sequence[_Waiting]) -> None:
        """Every caller of the batch gets the verdicts, or the error that there are none."""
        try:
            verdicts = await self._decide(tenant_id, [waiting.order for waiting in batch])
        except Exception as error:  # noqa: BLE001 - it is raised where the callers wait
            for future in _open(batch):
                future.set_exception(error)
        else:
            for future in _open(batch):
                future.set_result(verdicts)
        finally:
            for future in _open(batch):
                future.cancel()

    async def _decide(self, tenant_id: str, orders: Sequence[Order]) -> Decided:
        if not orders:
            return _NOTHING
        limits = await self._limits_of(tenant_id)
        batch = batch_of(orders)
        now_ns = self._clock() if self._clock else None
        async with self._database.tenant(tenant_id) as connection:
            verdicts = await decide(connection, batch, limits, now_ns=now_ns)
        if verdicts.refused:
            asked = {request.lease_id: request for request in batch.requests}
            refusals = [(asked[lease_id], refusal) for lease_id, refusal in verdicts.refused.items()]
            await self._witness.refused(tenant_id, refusals)
        return verdicts


def _open(batch: Sequence[_Waiting]) -> list[asyncio.Future[Decided]]:
    """Of those who still wait."""
    return [waiting.decided for waiting in batch if not waiting.decided.done()]


def taken(queue: deque[_Waiting]) -> list[_Waiting]:
    """Those who are decided next, in the order they came: none who went away, and no lease twice, so that
    within a batch it does not matter which kind of order is decided first.
    """
    batch: list[_Waiting] = []
    later: list[_Waiting] = []
    named: set[str] = set()
    while queue and len(batch) < _LARGEST:
        waiting = queue.popleft()
        if waiting.decided.done():
            continue
        (later if waiting.order.lease_id in named else batch).append(waiting)
        named.add(waiting.order.lease_id)
    queue.extendleft(reversed(later))
    return batch


def batch_of(orders: Sequence[Order]) -> Batch:
    """The orders by kind."""
    return Batch(
        requests=[order for order in orders if isinstance(order, Request)],
        renewals={order.lease_id: order.ttl_ns for order in orders if isinstance(order, Renewal)},
        ends=[order.lease_id for order in orders if isinstance(order, End)],
    )


_NOTHING: Final = Decided(now_ns=0, held={}, refused={}, renewed={}, barred=frozenset(), ended=frozenset())
