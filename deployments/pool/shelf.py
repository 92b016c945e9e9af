"""The models that a replica offers besides those of its repository: registered while it runs.

It follows the catalogue by itself. What is new is loaded once on a thread, while the replica goes on
answering: that checks it, and tells how fast it is and how long its load takes. Then it stays loaded while
there is room, and is offered with its load when there is none. What is retired is refused from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, NamedTuple, NoReturn

from deployments.pool.load_times import LoadTimes
from deployments.pool.loader import Loaded
from deployments.pool.loading import Loading
from deployments.pool.placement import Part
from deployments.pool.stock import Stock
from deployments.router.catalogue_fold import Entry
from deployments.router.catalogue_tail import CatalogueTail
from models.card import ModelStatus, WarmProfile
from models.errors import TicketRefused
from models.events import Origin
from models.forecast import InferCall
from models.metrics import Meter

log = logging.getLogger("ray.serve")

_LOOK_S: Final = 1.0
_AT_ONCE: Final = 2
"""Loads at the same time: one of the shelf's own, so that a call never waits for more than one other."""


class Known(NamedTuple):
    """What was found out of a model when it was loaded first; `nbytes` of memory."""

    sha256: str
    nbytes: int
    warm: tuple[WarmProfile, ...]


class Shelf:
    """Keeps a worker's registered models equal to the catalogue's. Run `run` as a task.

    `part` says which of them this replica offers. It is asked again once a second, because a pool that grows
    or shrinks changes the answer. `load` blocks; whatever it raises refuses that model alone.
    """

    def __init__(
        self,
        tail: CatalogueTail,
        stock: Stock,
        load: Callable[[Entry], Loaded],
        *,
        pool: str,
        meter: Meter,
        clock: Callable[[], int],
        part: Part,
        most_waiting: int,
    ) -> None:
        self._tail = tail
        self._stock = stock
        self._read = load
        self._pool = pool
        self._meter = meter
        self._part = part
        self._entries: dict[str, Entry] = {}
        self._known: dict[str, Known] = {}
        self._said: dict[str, list[dict[str, Any]]] = {}
        self._times = LoadTimes()
        self._loading = Loading(self._load, self._times, most_waiting=most_waiting, clock=clock)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self.refused: dict[str, str] = {}

    def profiles(self) -> dict[str, list[dict[str, Any]]]:
        """What is offered now and how fast it is, for the routers; together with its load where that is to
        come.
        """
        return dict(self._said)

    def cold(self) -> list[str]:
        """Which of them have to be loaded first."""
        return sorted(name for name in self._said if name not in self._stock)

    def has(self, model: str) -> bool:
        """Whether the model is this shelf's to answer for."""
        return model in self._entries

    def in_use(self, model: str) -> AbstractContextManager[None]:
        """Keep the model loaded for as long as the block lasts."""
        return self._stock.in_use(model)

    async def loaded(self, call: InferCall) -> float:
        """Wait until the call's model is loaded; how long that took, milliseconds, 0 if it was.

        Raises TicketRefused if it does not load, and whatever `Loading.wait_for` does.
        """
        if call.model in self._stock:
            return 0.0
        if call.model not in self.refused:
            waited_ms = await self._loading.wait_for(call)
            if call.model in self._stock:
                return waited_ms
        why = self.refused.get(call.model, "it was retired")
        raise TicketRefused(f"model {call.model} is not loaded: {why}")

    async def run(self) -> NoReturn:
        """Follow the catalogue; a model that cannot be loaded is tried again and keeps no other waiting."""
        version = -1
        while True:
            await self._follow()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    version = await self._tail.changed_since(version)

    async def _follow(self) -> None:
        """Load and drop until the shelf is as the catalogue says."""
        self._entries = {
            name: entry
            for name, entry in self._tail.entries.items()
            if _is_loadable(entry) and self._part.offers(entry)
        }
        for name in [name for name, known in self._known.items() if not self._is_wanted(name, known.sha256)]:
            self._forget(name)
        self.refused = {name: why for name, why in self.refused.items() if name in self._entries}
        for name in sorted(self._entries, key=self._turn):
            if self._is_missing(name):
                await self._loading.of(name)
        self._unload(self._stock.surplus(self._is_live))
        self._count()

    def _turn(self, name: str) -> tuple[bool, bool, str]:
        return not self._is_live(name), not self._part.loads(self._entries[name]), name

    def _is_missing(self, name: str) -> bool:
        """Whether to load a model that nobody asks for: it is new, live, or fits without another's place."""
        if name in self._stock:
            return False
        known = self._known.get(name)
        if known is None or self._is_live(name):
            return True
        return self._stock.has_room(known.nbytes) and self._part.loads(self._entries[name])

    async def _load(self, name: str) -> None:
        entry = self._entries.get(name)
        if entry is None:
            return  # retired since this was begun
        try:
            async with self._at_once:
                loaded = await asyncio.to_thread(self._read, entry)
                known = self._known.get(name)
                if known is None:
                    known = await asyncio.to_thread(_measured, entry, loaded)
        except Exception as error:  # noqa: BLE001 - the driver of a store raises what it likes
            self._refuse(name, error)
        else:
            if self._is_wanted(name, entry.card.sha256):
                self._hold(name, known, loaded)

    def _hold(self, name: str, known: Known, loaded: Loaded) -> None:
        only_measured = name not in self._known and not self._part.loads(self._entries[name])
        self.refused.pop(name, None)
        self._times.took(name, loaded.load_ms)
        self._known[name], self._said[name] = known, _plain(known.warm)
        self._stock.put(name, loaded)
        if only_measured and not self._stock.is_used(name):
            self._unload([name])
        self._unload(self._stock.surplus(self._is_live))

    def _refuse(self, name: str, error: Exception) -> None:
        if self.refused.get(name) != str(error):
            log.error("model %s is not loaded: %s", name, error)
        self._forget(name)
        self.refused[name] = str(error)

    def _unload(self, names: list[str]) -> None:
        for name in names:
            self._stock.drop(name)
            self._said[name] = _plain(self._times.cold(name, self._known[name].warm))

    def _forget(self, name: str) -> None:
        self._stock.drop(name)
        self._times.forget(name)
        self._known.pop(name, None)
        self._said.pop(name, None)

    def _is_live(self, name: str) -> bool:
        return name in self._entries and self._entries[name].card.status is ModelStatus.LIVE

    def _is_wanted(self, name: str, sha256: str) -> bool:
        return name in self._entries and self._entries[name].card.sha256 == sha256

    def _count(self) -> None:
        counts = {"held": len(self._stock), "cold": len(self.cold()), "refused": len(self.refused)}
        for state, count in counts.items():
            self._meter.gauge("hub_registered_models", {"pool": self._pool, "state": state}, count)


def _is_loadable(entry: Entry) -> bool:
    """Models of the repository are held anyhow, and an ensemble is a recipe that its callers follow."""
    return entry.origin is Origin.REGISTERED and entry.card.ensemble is None


def _measured(entry: Entry, loaded: Loaded) -> Known:
    return Known(entry.card.sha256, loaded.nbytes, loaded.speed())


def _plain(profiles: list[WarmProfile] | tuple[WarmProfile, ...]) -> list[dict[str, Any]]:
    return [profile.model_dump() for profile in profiles]
