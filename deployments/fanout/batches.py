"""One prediction's records for a partition's users: rendered, and cut where one append is too small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deployments.fanout.predictions import Entry
from messaging.ports import Record
from signals.encoding import Body
from signals.projection import Subscriber

_TURN: Final = 500
"""Users rendered before other tasks get the loop; about two milliseconds."""
_WIDEST_PART: Final = (9999, 9999)
"""Stands for (i, n) while n is not known; no real one is longer."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Part (i, n) of a slot's records in this partition, and what is true once it is valid in the log."""

    entry: Entry
    part: tuple[int, int]
    subscription_offset: int
    records: Sequence[Record]
    sequences: Mapping[str, int]
    deliveries: frozenset[str]


class Turns:
    """Lets other tasks have the loop while the partitions of a worker render a large slot, so that the first
    batches are on their way to the broker while the last are still being rendered. A small slot is rendered
    in one go, so that its batches travel together.
    """

    def __init__(self) -> None:
        self._order = asyncio.Lock()
        self._rendered = 0

    async def take(self, users: int) -> None:
        """Wait for the turn to render so many users."""
        async with self._order:
            if self._rendered and self._rendered + users > _TURN:
                await asyncio.sleep(0)
            if not self._rendered:
                asyncio.get_running_loop().call_soon(self._pass)
            self._rendered += users

    def _pass(self) -> None:
        """All other tasks had the loop since the first of this turn."""
        self._rendered = 0


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders an entry's signals under one claim.

    `sequences` is what every user received last, `before` what those were given who stand in front of this
    entry in the same append.
    """

    entry: Entry
    body: Body
    epoch: int
    subscription_offset: int
    sequences: Mapping[str, int]
    clock: Callable[[], int]
    turns: Turns
    before: Mapping[str, int] = field(default_factory=dict)

    async def batch(self, subscribers: Sequence[Subscriber], part: tuple[int, int]) -> Batch:
        """One batch for all of the subscribers."""
        issued: dict[str, int] = {}
        records: list[Record] = []
        for start in range(0, len(subscribers), _TURN):
            chunk = subscribers[start : start + _TURN]
            await self.turns.take(len(chunk))
            records += self._records(chunk, part, issued)
        whole = part[0] == part[1] == 1
        ids = frozenset() if whole else frozenset(map(self.body.delivery_id, subscribers))
        return Batch(self.entry, part, self.subscription_offset, records, issued, ids)

    async def cut(
        self, subscribers: Sequence[Subscriber], fits: Callable[[Sequence[Record]], int]
    ) -> list[int]:
        """How many subscribers go into each append; empty if not even one record fits."""
        records = (await self.batch(subscribers, _WIDEST_PART)).records
        sizes: list[int] = []
        while records:
            size = fits(records)
            if size == 0:
                return []
            sizes.append(size)
            records = records[size:]
        return sizes

    def _records(
        self, subscribers: Sequence[Subscriber], part: tuple[int, int], issued: dict[str, int]
    ) -> list[Record]:
        before, last, records = self.before, self.sequences, []
        body = self.body.batch(
            epoch=self.epoch,
            part=part,
            subscription_offset=self.subscription_offset,
            now_ns=self.clock(),
        )
        for one in subscribers:
            user = one.user_id
            sequence = issued[user] = (issued.get(user) or before.get(user) or last.get(user, 0)) + 1
            records.append(Record(one.key, body.render(one, sequence)))
        return records
