"""What waits for its partition: bounded per tenant, tenants in turn. Pure."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from messaging.ports import Record
from messaging.sizes import BATCH_OVERHEAD
from models.base import Frozen
from models.errors import QueueFull

RETRY_AFTER_S: Final = 1.0
"""What a refused caller is asked to wait."""


class Place(NamedTuple):
    """Where a record goes."""

    topic: str
    partition: int


class QueueLimits(Frozen):
    """What may be pending at once, waiting and in flight together."""

    tenant_records: Annotated[int, Field(gt=0)] = 5_000
    tenant_bytes: Annotated[int, Field(gt=0)] = 8 << 20
    total_bytes: Annotated[int, Field(gt=0)] = 64 << 20


@dataclass(slots=True, eq=False)
class Pending:
    """A record with nobody's answer yet. Times are of the loop's clock; `size` is what it takes of a batch.

    The outcome is done as soon as its caller has given up; such a record is not sent any more.
    """

    tenant: str
    record: Record
    size: int
    since_s: float
    deadline_s: float
    outcome: asyncio.Future[int]
    sent: bool = False


@dataclass(slots=True)
class _Depth:
    records: int = 0
    size: int = 0


class TenantQueues:
    """Pending records by place. One counts against its tenant from `add` to `settled`."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._lines: dict[Place, dict[str, deque[Pending]]] = {}
        self._depths: dict[str, _Depth] = {}
        self._pending: dict[Pending, None] = {}
        self._size = 0

    def add(self, place: Place, item: Pending) -> None:
        """Let a record wait behind its tenant's others; QueueFull if the tenant, or all, have too much."""
        depth = self._depths.get(item.tenant) or _Depth()
        if depth.records >= self._limits.tenant_records or depth.size + item.size > self._limits.tenant_bytes:
            raise QueueFull(
                f"{depth.records} records of this tenant are waiting; slow down", retry_after_s=RETRY_AFTER_S
            )
        if self._size + item.size > self._limits.total_bytes:
            raise QueueFull("too much is waiting for the broker; slow down", retry_after_s=RETRY_AFTER_S)
        self._depths[item.tenant] = depth
        self._count(item, depth, 1)
        self._pending[item] = None
        self._lines.setdefault(place, {}).setdefault(item.tenant, deque()).append(item)

    def take(self, place: Place, *, records: int, size: int) -> list[Pending]:
        """The next batch of a place: one record of each tenant in turn, up to so many records and bytes, and
        never none because the first is larger. Given-up ones are settled on the way.
        """
        lines = self._lines.get(place, {})
        taken: list[Pending] = []
        room = size - BATCH_OVERHEAD
        while lines and len(taken) < records:
            tenant, line = next(iter(lines.items()))
            room -= line[0].size
            if taken and room < 0:
                break
            item = line.popleft()
            del lines[tenant]
            if line:
                lines[tenant] = line  # behind all others, until its next turn
            if item.outcome.done():
                room += item.size
                self.settled(item)
            else:
                taken.append(item)
        if not lines:
            self._lines.pop(place, None)
        return taken

    def waits(self, place: Place) -> bool:
        """Whether a record waits for the place."""
        return place in self._lines

    def take_all(self) -> list[Pending]:
        """Everything that waits, for one who gives up on it; what is in flight stays."""
        waiting = [item for lines in self._lines.values() for line in lines.values() for item in line]
        self._lines.clear()
        return waiting

    def settled(self, item: Pending) -> None:
        """The record counts no longer."""
        del self._pending[item]
        depth = self._depths[item.tenant]
        self._count(item, depth, -1)
        if not depth.records:
            del self._depths[item.tenant]

    def depths(self) -> Mapping[str, int]:
        """Pending records by tenant."""
        return {tenant: depth.records for tenant, depth in self._depths.items()}

    def oldest_since_s(self) -> float | None:
        """When the oldest pending record came."""
        return next((item.since_s for item in self._pending), None)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._pending)

    def __len__(self) -> int:
        return len(self._pending)

    def _count(self, item: Pending, depth: _Depth, sign: int) -> None:
        depth.records += sign
        depth.size += sign * item.size
        self._size += sign * item.size
