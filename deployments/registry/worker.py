"""Brings `hub.models` in line with the repository, as its claimed owner.

restore: fold the whole log -> publish: append what differs from the repository -> make changes that are asked
for, one after the other, until the claim is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NoReturn, Protocol

from deployments.registry.lifecycle import Change, Under
from deployments.router.catalogue_fold import CatalogueFold, Entry
from messaging.lease import Lease
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import EventBus, Record
from messaging.topics import MODELS, REGISTRY
from models.card import ModelCard
from models.errors import CardRejected, HubError, MessagingError, NotFound, RegistryAway
from models.events import CatalogueEvent, ModelAdded, ModelRetired, Origin
from models.metrics import Meter

log = logging.getLogger("ray.serve")

RETIRED_REASON: Final = "no longer in the repository, or refused by its checks"
_PATIENCE_S: Final = 15.0
"""Longer than it takes another registry to notice that the owner is gone."""


class CheckedRepository(Protocol):
    """What `inference.check.load_cards` returns."""

    @property
    def cards(self) -> Sequence[ModelCard]: ...

    @property
    def rejected(self) -> dict[str, CardRejected]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A change that somebody waits for; `version` is of the catalogue once it is made."""

    make: Change
    by: str
    version: asyncio.Future[int]

    def settle(self, outcome: int | HubError) -> None:
        if self.version.done():
            return
        if isinstance(outcome, HubError):
            self.version.set_exception(outcome)
        else:
            self.version.set_result(outcome)


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
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()
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
            "live": self.live,
            "version": self._fold.version,
            "models": [str(card.key) for card in self._fold.cards],
            "refused": {name: error.message for name, error in self._repository.rejected.items()},
        }

    @property
    def live(self) -> bool:
        """Whether this registry owns the catalogue."""
        return bool(self._ownership.live())

    @property
    def models(self) -> Mapping[str, Entry]:
        """The catalogue as far as it was folded, by `name@version`."""
        return self._fold.entries

    def card(self, model: str) -> ModelCard:
        """As it stands in the catalogue, by `name@version`; NotFound if it does not."""
        if model not in self._fold.entries:
            raise NotFound("the catalogue has no such model")
        return self._fold.entries[model].card

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
        await self._append(lease, self._differences(lease.epoch))
        while True:
            await self._make(await self._next(lease), lease)

    async def change(self, make: Change, *, by: str) -> int:
        """Change the catalogue, after all that was asked for before; its version then.

        Raises what `make` raises, and RegistryAway if nobody owns the catalogue for `_PATIENCE_S`, or if
        ownership was lost on the way.
        """
        asked = Asked(make, by, asyncio.get_running_loop().create_future())
        self._asked.put_nowait(asked)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await asked.version
        except TimeoutError:
            raise RegistryAway("nobody owns the catalogue; ask again") from None

    async def _next(self, lease: Lease) -> Asked:
        """The change that was asked for next; OwnershipLost if the lease ends before."""
        asking, losing = asyncio.create_task(self._asked.get()), asyncio.create_task(lease.lost())
        try:
            await asyncio.wait((asking, losing), return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else losing.result()
        finally:
            asking.cancel()
            losing.cancel()

    async def _make(self, asked: Asked, lease: Lease) -> None:
        """Append the events of a change, unless nobody waits for it any more; settle it either way."""
        if asked.version.done():
            return
        try:
            events = asked.make(self._fold.entries, Under(lease.epoch, self._clock(), asked.by))
            await self._append(lease, [_record(event) for event in events])
        except HubError as error:
            away = isinstance(error, MessagingError)
            asked.settle(
                RegistryAway("the catalogue could not be written; look what it says") if away else error
            )
            if away:
                raise
        else:
            asked.settle(self._fold.version)

    async def _append(self, lease: Lease, pending: Sequence[Record]) -> None:
        """Append and fold, in as many batches as it takes."""
        while pending:
            batch = pending[: max(1, lease.fits(pending))]
            await lease.append(batch)
            await self._catch_up(lease, lease.position)
            pending = pending[len(batch) :]

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
        known = {
            name: entry for name, entry in self._fold.entries.items() if entry.origin is Origin.REPOSITORY
        }
        wanted = {str(card.key): card for card in self._repository.cards}
        at_ns = self._clock()
        added = [
            ModelAdded(epoch=epoch, card=card, at_ns=at_ns)
            for name, card in wanted.items()
            if not _same(known.get(name), card)
        ]
        retired = [
            ModelRetired(epoch=epoch, model=name, reason=RETIRED_REASON, at_ns=at_ns)
            for name in known
            if name not in wanted
        ]
        changes: list[CatalogueEvent] = [*added, *retired]
        return [_record(event) for event in changes]


def _same(known: Entry | None, card: ModelCard) -> bool:
    """A status that was given since stands, whatever the repository says."""
    if known is None:
        return False
    return known.card == (card.model_copy(update={"status": known.card.status}) if known.moved else card)


def _record(event: CatalogueEvent) -> Record:
    model = str(event.card.key) if isinstance(event, ModelAdded) else event.model
    return Record(key=model.encode(), value=event.model_dump_json(by_alias=True).encode())
