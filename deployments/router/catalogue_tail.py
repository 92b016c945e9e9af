"""A process's own copy of the catalogue, kept up to date from `hub.models`.

The registry is never asked. While it, or the broker, is away the copy goes on serving and only grows older.
So it does if the log ends before what was read of it (the topic was made anew): only a restart follows that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NoReturn

from deployments.router.catalogue_fold import CatalogueFold, Entry
from messaging.ports import EventBus, Tail
from messaging.topics import MODELS
from models.errors import MessagingError
from models.metrics import Meter
from routing.catalogue import Catalogue

log = logging.getLogger("ray.serve")

_PARTITION: Final = 0
_WAIT_S: Final = 1.0
_RETRY_S: Final = 1.0
_LATE_MS: Final = 100


class CatalogueTail:
    """Follows `hub.models` from its first record. Run `run` as a task; read `catalogue` at any time.

    The catalogue is replaced, never changed, so a decision in progress keeps the one it began with.
    """

    def __init__(
        self, bus: EventBus, *, room: str, clock: Callable[[], int], rng: Random, meter: Meter
    ) -> None:
        self._bus = bus
        self._room = room
        self._clock = clock
        self._rng = rng
        self._meter = meter
        self._fold = CatalogueFold()
        self._position = 0
        self._catalogue = Catalogue.of([], version=-1)
        self._complete_ns: int | None = None
        self._news = asyncio.Condition()

    @property
    def catalogue(self) -> Catalogue:
        """The newest copy; empty, with version -1, before anything was read."""
        return self._catalogue

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The same models, with where each comes from; by `name@version`."""
        return self._fold.entries

    async def changed_since(self, version: int) -> int:
        """Wait until the catalogue has another version than this one; that version."""
        async with self._news:
            await self._news.wait_for(lambda: self._catalogue.version != version)
        return self._catalogue.version

    @property
    def complete(self) -> bool:
        """Whether the end of the log was reached at least once."""
        return self._complete_ns is not None

    @property
    def age_s(self) -> float:
        """Seconds since this copy was known to hold all of `hub.models`; infinite before the first time."""
        return float("inf") if self._complete_ns is None else (self._clock() - self._complete_ns) / 1e9

    async def run(self) -> NoReturn:
        """Follow the log until cancelled; a broker that is away is asked again about once a second."""
        while True:
            try:
                await self._follow()
            except MessagingError as error:
                log.warning("catalogue of %s is %.0f s old: %s", self._room, self.age_s, error.message)
                await asyncio.sleep(_RETRY_S * (0.5 + self._rng.random()))

    async def _follow(self) -> NoReturn:
        tail = await self._bus.tail(MODELS.name, {_PARTITION: self._position}, late_ms=_LATE_MS)
        try:
            while True:
                await self._take(tail)
        finally:
            await tail.close()

    async def _take(self, tail: Tail) -> None:
        records = await tail.batch(max_wait_s=_WAIT_S)
        if self._fold.take_all(records):
            cards, version = self._fold.cards, self._fold.version
            self._catalogue = Catalogue.of(cards, version=version, before=self._catalogue)
            async with self._news:
                self._news.notify_all()
            self._meter.gauge("hub_catalogue_version", {"room": self._room}, self._fold.version)
        self._position = tail.position(_PARTITION)
        asked_ns = self._clock()
        _, end = await self._bus.bounds(MODELS.name, _PARTITION)
        if end < self._position:
            raise MessagingError(
                f"{MODELS.name} ends at offset {end}, before offset {self._position} that was read: it was "
                "made anew; restart this process to follow it"
            )
        if self._position == end:
            self._complete_ns = asked_ns
