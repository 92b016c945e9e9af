"""The models that a replica holds besides those of its repository: registered while it runs.

It follows the catalogue by itself. What is new is fetched by its hash, checked against the hub's signature
and loaded on a thread, while the replica goes on answering. What is retired is refused from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn, Protocol

from deployments.router.catalogue_fold import Entry
from deployments.router.catalogue_tail import CatalogueTail
from deployments.router.execution.worker import InferenceWorker
from inference.session import Session
from inference.signature import Verifier
from models.errors import HubError
from models.events import Origin
from models.metrics import Meter

log = logging.getLogger("ray.serve")

_LOOK_S: Final = 1.0


class Artefacts(Protocol):
    """Where artefacts are kept by their hash. Blocks."""

    def get(self, digest: str) -> bytes: ...


class Shelf:
    """Keeps a worker's registered models equal to the catalogue's. Run `run` as a task.

    `wanted` says which of them belong into this replica. It is asked again once a second, because a pool that
    grows or shrinks changes the answer.
    """

    def __init__(
        self,
        tail: CatalogueTail,
        worker: InferenceWorker,
        artefacts: Artefacts,
        verifier: Verifier,
        *,
        pool: str,
        meter: Meter,
        wanted: Callable[[Entry], bool] = lambda _: True,
    ) -> None:
        self._tail = tail
        self._worker = worker
        self._artefacts = artefacts
        self._verifier = verifier
        self._pool = pool
        self._meter = meter
        self._wanted = wanted
        self._held: set[str] = set()
        self.refused: dict[str, str] = {}

    def profiles(self) -> dict[str, list[dict[str, Any]]]:
        """What is held now and how fast it is, for the routers."""
        return self._worker.profiles(self._held)

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
        wanted = {
            name: entry
            for name, entry in self._tail.entries.items()
            if entry.origin is Origin.REGISTERED and self._wanted(entry)
        }
        for name in self._held - wanted.keys():
            self._worker.drop(name)
        self._held &= wanted.keys()
        self.refused = {name: why for name, why in self.refused.items() if name in wanted}
        for name in sorted(wanted.keys() - self._held):
            await self._load(name, wanted[name])
        for state, count in (("held", len(self._held)), ("refused", len(self.refused))):
            self._meter.gauge("hub_registered_models", {"pool": self._pool, "state": state}, count)

    async def _load(self, name: str, entry: Entry) -> None:
        try:
            session = await asyncio.to_thread(partial(self._loaded, entry))
        except (HubError, OSError) as error:
            if self.refused.get(name) != str(error):
                log.error("model %s is not loaded: %s", name, error)  # noqa: TRY400 - the text says it all
            self.refused[name] = str(error)
            return
        self.refused.pop(name, None)
        self._worker.hold(session)
        self._held.add(name)

    def _loaded(self, entry: Entry) -> Session:
        self._verifier.check(entry.card, entry.signature)
        return Session(self._artefacts.get(entry.card.sha256), entry.card)
