"""What a room holds while it owns a partition, and the producer that all owners of a process share.

A `Room` restores and serves; a `Lease` is its right to publish under one claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol

from messaging.ports import Producer, Record
from models.errors import OwnershipLost


class Room(Protocol):
    """What an owner does with a partition."""

    async def restore(self, lease: Lease) -> int:
        """Forget all that is known of the partition, fold its log up to and including the claim at
        `lease.epoch`, and return the position reached. Called again after a MessagingError.
        """
        ...

    async def serve(self, lease: Lease) -> NoReturn:
        """Publish through the lease until that raises OwnershipLost, or until cancelled. Called again under
        the same lease after any other MessagingError.
        """
        ...


class Lease:
    """The right to publish under one claim. It ends when the claim is fenced or an outcome is unknown."""

    def __init__(self, holder: Holder, *, epoch: int) -> None:
        self.partition: Final = holder.partition
        self.epoch: Final = epoch
        self._holder = holder
        self._ended = asyncio.Event()

    @property
    def position(self) -> int:
        """Every record below this offset is folded or judged, as long as nothing is in flight."""
        return self._holder.position

    @property
    def batch_bytes(self) -> int:
        """How large one append may be, as `messaging.sizes` counts."""
        return self._holder.batch_bytes

    def fits(self, records: Sequence[Record]) -> int:
        """How many of the records, from the first, one append can take."""
        return self._holder.fits(records)

    async def append(self, records: Sequence[Record], *, within_s: float | None = None) -> int:
        """Write one batch and return the offset of its first record, known to be valid for every reader.
        `within_s`: by when its outcome is unknown, if that is sooner than usual.

        Build the next batch only after this returned. OwnershipLost says that whether the batch is in the
        log is for the next restore to find out.
        """
        if self._ended.is_set():
            raise self._loss()
        try:
            return await self._holder.publish(records, within_s=within_s)
        except OwnershipLost:
            self.end()
            raise

    async def lost(self) -> NoReturn:
        """Wait for the end, for a room whose appends are made by other tasks, and raise OwnershipLost."""
        await self._ended.wait()
        raise self._loss()

    def end(self) -> None:
        """Refuse every further append."""
        self._ended.set()

    def _loss(self) -> OwnershipLost:
        return OwnershipLost(f"the lease of partition {self.partition} under claim {self.epoch} has ended")


class Holder(Protocol):
    """What a lease asks of the owner that granted it."""

    @property
    def partition(self) -> int: ...

    @property
    def position(self) -> int: ...

    @property
    def batch_bytes(self) -> int: ...

    def fits(self, records: Sequence[Record]) -> int: ...

    async def publish(self, records: Sequence[Record], *, within_s: float | None = None) -> int: ...


class SharedProducer:
    """One producer under all owners of a process. A rebuild drops what every partition has in flight, so one
    rebuild serves all who were in flight at that moment; nothing is appended while it runs.
    """

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self._generation = 0
        self._rebuilding = asyncio.Lock()

    async def generation(self) -> int:
        """Wait out a rebuild and return the producer's generation: append right after, or ask again."""
        if self._rebuilding.locked():
            async with self._rebuilding:
                pass
        return self._generation

    async def rebuild(self, *, seen: int) -> bool:
        """Rebuild unless that has happened since generation `seen`; True if it was done here."""
        async with self._rebuilding:
            if self._generation != seen:
                return False
            await self.producer.rebuild()
            self._generation += 1
            return True
