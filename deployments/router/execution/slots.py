"""How many runs a worker makes at once, and which calls wait for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from models.errors import ReplicaBusy

Item = TypeVar("Item")


class Slots(Generic[Item]):
    """A bounded queue, first come first served, in front of a bounded number of slots.

    Belongs to one event loop. A run occupies one slot, however many calls it answers; whoever took it frees
    it exactly once, when the work has really ended.
    """

    def __init__(self, *, slots: int, max_queue: int) -> None:
        self._slots = slots
        self._max_queue = max_queue
        self._runs = 0
        self._in_service = 0
        self._waiting: deque[Item] = deque()

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def queued(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    @property
    def in_service(self) -> int:
        """Calls that run, which are more than the slots taken where several run together."""
        return self._in_service

    @property
    def available(self) -> bool:
        """Whether a slot is free."""
        return self._runs < self._slots

    @property
    def waiting(self) -> Sequence[Item]:
        """Who waits, the first to be served first."""
        return self._waiting

    def join(self, item: Item) -> None:
        """Stand at the end of the queue. Raises ReplicaBusy at once if that is full.

        Who waits for a slot that is free does not count: nobody has looked at the queue yet.
        """
        if len(self._waiting) >= self._max_queue + self._slots - self._runs:
            raise ReplicaBusy(
                f"{self._in_service} calls run and {len(self._waiting)} wait; the queue holds no more"
            )
        self._waiting.append(item)

    def leave(self, item: Item) -> None:
        """Give up waiting; nothing happens to one that no longer waits."""
        if item in self._waiting:
            self._waiting.remove(item)

    def take(self, items: Sequence[Item]) -> None:
        """One slot for all of these, who wait no longer."""
        for item in items:
            self._waiting.remove(item)
        self._runs += 1
        self._in_service += len(items)

    def free(self, items: Sequence[Item]) -> None:
        """The run of these has ended."""
        self._runs -= 1
        self._in_service -= len(items)
