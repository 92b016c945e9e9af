"""Brings `hub.models` in line with the repository, as its claimed owner.

restore: fold the whole log -> publish: append what differs -> stay, so that the claim stays ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, NoReturn, Protocol

from deployments.router.catalogue_fold import CatalogueFold
from messaging.lease import Lease
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import EventBus, Record
from messaging.topics import MODELS, REGISTRY
from models.card import ModelCard
from models.errors import CardRejected
from models.events import CatalogueEvent, ModelAdded, ModelRetired
from models.metrics import Meter

log = logging.getLogger("ray.serve")

RETIRED_REASON: Final = "no longer in the repository, or refused by its checks"


class CheckedRepository(Protocol):
    """What `inference.check.load_cards` returns."""

    @property
    def cards(self) -> Sequence[ModelCard]: ...

    @property
    def rejected(self) -> dict[str, CardRejected]: ...


class RegistryWorker:
    """Owns `hub.models` while the group assigns it; a second registry waits until then.

    `run` is one task; the room methods `restore` and `serve` are called by the ownership it runs.
    """

    def __init__(
        self,
        bus: EventBus,
        repository: CheckedRepository,
        *,
        name: str,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._bus = bus
        self._repository = repository
        self._clock = clock
        self._fold = CatalogueFold()
        self._position = 0
        self._ownership = Ownership(
            bus,
            self,
            OwnershipConfig(topic=MODELS.name, group=REGISTRY.name, name=name),
            clock=clock,
            rng=rng,
            meter=meter,
        )

    async def run(self) -> NoReturn:
        """Publish and stay, until cancelled."""
        for directory, error in self._repository.rejected.items():
            log.error("model %s refused: %s", directory, error.message)
        await self._ownership.run()

    def status(self) -> dict[str, Any]:
        """What was accepted, what was refused and why, and how far the catalogue is."""
        return {
            "live": bool(self._ownership.live()),
            "version": self._fold.version,
            "models": [str(card.key) for card in self._fold.cards],
            "refused": {name: error.message for name, error in self._repository.rejected.items()},
        }

    async def restore(self, lease: Lease) -> int:
        """Fold all of `hub.models` up to and including the claim."""
        self._fold = CatalogueFold()
        self._position, _ = await self._bus.bounds(MODELS.name, lease.partition)
        await self._catch_up(lease, lease.epoch + 1)
        return self._position

    async def serve(self, lease: Lease) -> NoReturn:
        """Append what the catalogue lacks, then hold the claim until it is lost.

        Called again when the broker could not be read: what was appended before that is folded first.
        """
        await self._catch_up(lease, lease.position)
        pending = self._differences(lease.epoch)
        while pending:
            batch = pending[: max(1, lease.fits(pending))]
            await lease.append(batch)
            await self._catch_up(lease, lease.position)
            pending = pending[len(batch) :]
        await lease.lost()

    async def _catch_up(self, lease: Lease, stop: int) -> None:
        """Fold the log from where we are up to `stop`."""
        async for records in self._bus.read(MODELS.name, lease.partition, self._position, stop):
            self._fold.take_all(records)
            self._position = records[-1].offset + 1
        self._position = max(self._position, stop)

    def _differences(self, epoch: int) -> list[Record]:
        """Events that turn the catalogue into the repository; what is new comes before what is retired, so
        that no reader is ever left with less than there is.
        """
        known = {str(card.key): card for card in self._fold.cards}
        wanted = {str(card.key): card for card in self._repository.cards}
        added = [self._added(card, epoch) for name, card in wanted.items() if known.get(name) != card]
        return added + [self._retired(name, epoch) for name in known if name not in wanted]

    def _added(self, card: ModelCard, epoch: int) -> Record:
        return _record(str(card.key), ModelAdded(epoch=epoch, card=card, at_ns=self._clock()))

    def _retired(self, model: str, epoch: int) -> Record:
        event = ModelRetired(epoch=epoch, model=model, reason=RETIRED_REASON, at_ns=self._clock())
        return _record(model, event)


def _record(model: str, event: CatalogueEvent) -> Record:
    return Record(key=model.encode(), value=event.model_dump_json(by_alias=True).encode())
