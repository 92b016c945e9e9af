"""One prediction's records for a partition's users: rendered, and cut where one append is too small."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deployments.fanout.predictions import Entry
from messaging.ports import Record
from messaging.sizes import BATCH_OVERHEAD, RECORD_OVERHEAD
from signals.book import Subscriber
from signals.encoding import BatchBody, Body, Outcome
from signals.holdings import Asked, Holdings
from signals.terms import Terms

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
    asked: Asked
    kinds: Mapping[str, int]
    deliveries: frozenset[str]


class Turns:
    """Lets other tasks have the loop while the partitions of a worker render a large slot, so that the first
    batches are on their way to the broker while the last are still being rendered. A small slot is rendered
    in one go, so that its batches travel together.

    No lock keeps the order, the loop does. Under a lock that is waited for, every take costs a pass of the
    loop, however few users it is for; a backlog of small slots then never ends.
    """

    def __init__(self) -> None:
        self._rendered = 0

    async def take(self, users: int) -> None:
        """Wait for the turn to render so many users."""
        while self._rendered and self._rendered + users > _TURN:  # noqa: ASYNC110 - a pass is what is waited for
            await asyncio.sleep(0)
        if not self._rendered:
            asyncio.get_running_loop().call_soon(self._pass)
        self._rendered += users

    def _pass(self) -> None:
        """All other tasks had the loop since the first of this turn."""
        self._rendered = 0


@dataclass(slots=True)
class Ahead:
    """What the records that stand in front of others in the same append will have changed."""

    holdings: Holdings
    sequences: dict[str, int] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        self.sequences.update(batch.sequences)
        self.holdings.ask(batch.asked, batch.entry.owed.generated_ns)


@dataclass(slots=True)
class _Written:
    """What a batch has rendered so far."""

    records: list[Record] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders an entry's signals under one claim, on the terms of one moment.

    `sequences` is what every user received last; `ahead` counts before it.
    """

    entry: Entry
    body: Body
    terms: Terms
    epoch: int
    subscription_offset: int
    sequences: Mapping[str, int]
    ahead: Mapping[str, int]
    clock: Callable[[], int]
    turns: Turns

    async def outcomes(self, subscribers: Sequence[Subscriber]) -> list[Outcome]:
        """What each subscriber is asked for, found out when it is this partition's turn to render."""
        await self.turns.take(min(len(subscribers), _TURN))
        case, outcome = self.terms.case, self.body.outcome
        return [outcome(case(one)) for one in subscribers]

    async def batch(
        self, subscribers: Sequence[Subscriber], outcomes: Sequence[Outcome], part: tuple[int, int]
    ) -> Batch:
        """One batch for all of the subscribers."""
        written, head = _Written(), self._head(part)
        for start in range(0, len(subscribers), _TURN):
            end = min(start + _TURN, len(subscribers))
            if start:  # the turn for the first was taken with the outcomes
                await self.turns.take(end - start)
            self._render(subscribers[start:end], outcomes[start:end], head, written)
        whole = part[0] == part[1] == 1
        return Batch(
            entry=self.entry,
            part=part,
            subscription_offset=self.subscription_offset,
            records=written.records,
            sequences=written.sequences,
            asked=self._asked(subscribers, outcomes),
            kinds=Counter(outcome.kind for outcome in outcomes),
            deliveries=frozenset() if whole else frozenset(map(self.body.delivery_id, subscribers)),
        )

    def cut(
        self, subscribers: Sequence[Subscriber], outcomes: Sequence[Outcome], batch_bytes: int
    ) -> list[int]:
        """How many subscribers go into each append; empty if one's signal is too large for any."""
        room = left = batch_bytes - BATCH_OVERHEAD
        shared, sizes = self._head(_WIDEST_PART).shared_bytes + RECORD_OVERHEAD, [0]
        for one, outcome in zip(subscribers, outcomes, strict=True):
            size = shared + one.own_bytes + len(outcome.ending)
            if size > room:
                return []
            if size > left:
                sizes.append(0)
                left = room
            sizes[-1] += 1
            left -= size
        return sizes

    def _head(self, part: tuple[int, int]) -> BatchBody:
        return self.body.batch(
            epoch=self.epoch,
            part=part,
            subscription_offset=self.subscription_offset,
            now_ns=self.clock(),
        )

    def _render(
        self,
        subscribers: Sequence[Subscriber],
        outcomes: Sequence[Outcome],
        head: BatchBody,
        written: _Written,
    ) -> None:
        """The hot path: a few microseconds a user."""
        issued, ahead, last = written.sequences, self.ahead, self.sequences
        sequences = []
        for one in subscribers:
            user = one.user_id
            issued[user] = sequence = (issued.get(user) or ahead.get(user) or last.get(user, 0)) + 1
            sequences.append(sequence)
        values = head.render(subscribers, sequences, outcomes)
        written.records += [Record(one.key, value) for one, value in zip(subscribers, values, strict=True)]

    def _asked(self, subscribers: Sequence[Subscriber], outcomes: Sequence[Outcome]) -> Asked:
        asked = [
            (one, outcome.holds)
            for one, outcome in zip(subscribers, outcomes, strict=True)
            if outcome.holds is not None
        ]
        return Asked(
            self.entry.owed.slot.symbol,
            targets={one.account: holds for one, holds in asked},
            limited=[one.limits.rate for one, _ in asked if one.limits and one.limits.rate],
        )
