"""Who is owed a slot: decided from the fold of the partition and the subscriptions at the time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployments.fanout.books import GRACE_MS, Books, LiveBook
from deployments.fanout.fold import Fold
from deployments.fanout.predictions import Entry
from models.strategy import Strategy, StrategyRef
from signals.book import Book, Subscriber
from signals.reader import Series

log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Due:
    """Who is still to receive a slot, as of which subscriptions, and how many batches are in the log."""

    subscribers: Sequence[Subscriber]
    subscription_offset: int
    parts: int = 0


class Dues:
    """Answers for one owned partition, as long as its lease."""

    def __init__(
        self,
        partition: int,
        *,
        fold: Fold,
        live: LiveBook,
        books: Books,
        strategies: Mapping[StrategyRef, Strategy],
        clock_error_ns: int,
    ) -> None:
        self._partition = partition
        self._fold = fold
        self._live = live
        self._books = books
        self._strategies = strategies
        self._clock_error_ns = clock_error_ns

    async def of(self, entry: Entry, closes: Mapping[Series, int]) -> Due | None:
        """None if the slot is settled already: by us, by an earlier owner, or by a later slot of its series
        (`closes`: the latest ones on their way).

        A slot of which an earlier owner delivered a part is finished as of the same subscriptions.
        """
        slot, at_ns = entry.owed.slot, entry.owed.generated_ns
        if slot.strategy not in self._strategies:
            log.warning("strategy %s is not configured here; its slots reach nobody", slot.strategy)
            return None
        if slot.bar_close_ms <= closes.get(slot.series, -1):
            return None
        last = self._fold.last(slot)
        if last is None or last.bar_close_ms < slot.bar_close_ms:
            book = await self._book_for(entry)
            return Due(book.subscribers(slot.strategy, slot.symbol, at_ns=at_ns), book.offset)
        if last.bar_close_ms > slot.bar_close_ms or last.complete:
            return None
        book = await self._books.before(self._partition, last.subscription_offset + 1)
        everybody = book.subscribers(slot.strategy, slot.symbol, at_ns=at_ns)
        policy = self._strategies[slot.strategy].policy
        delivered, body = last.deliveries, entry.body(policy, clock_error_ns=self._clock_error_ns)
        rest = [one for one in everybody if body.delivery_id(one) not in delivered]
        return Due(rest, last.subscription_offset, last.part[0])

    async def _book_for(self, entry: Entry) -> Book:
        """The subscriptions as they were when the slot was predicted, give or take the grace time."""
        await self._books.catch_up(self._live)
        if self._live.changed_ms > entry.timestamp_ms + GRACE_MS:
            return await self._books.at(self._partition, entry.timestamp_ms)
        return self._live.book
