"""What `hub.models` says, record by record: the rules that its writer and all its readers share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from messaging.claims import EpochFilter
from messaging.ports import LogRecord
from models.card import ModelCard, ModelStatus
from models.events import CLAIM_KEY, CatalogueEvent, ModelAdded, ModelMoved, ModelRetired, Origin

log = logging.getLogger("ray.serve")

_EVENT: TypeAdapter[CatalogueEvent] = TypeAdapter(CatalogueEvent)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the catalogue, and where it comes from. `moved`: its status was given to it since; it has
    had it from `since_ns` on, in wall time.
    """

    card: ModelCard
    origin: Origin
    signature: str
    moved: bool = False
    since_ns: int = 0

    def to(self, status: ModelStatus, *, at_ns: int) -> Entry:
        card = self.card.model_copy(update={"status": status})
        return replace(self, card=card, moved=True, since_ns=at_ns)


class CatalogueFold:
    """The models in the catalogue after the records taken so far, from the first of the log.

    `version` is the offset of the last event that counted. Events of a writer that had already been fenced do
    not count, nor does a record that does not lie after all that were taken: a log never goes back. What
    cannot be read is logged and skipped, because every reader must come to the same result.
    """

    def __init__(self) -> None:
        self._epochs = EpochFilter()
        self._entries: dict[str, Entry] = {}
        self.version = -1
        self.skipped = 0
        self._taken = -1

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By `name@version`."""
        return self._entries

    @property
    def cards(self) -> list[ModelCard]:
        return [self._entries[name].card for name in sorted(self._entries)]

    def take_all(self, records: Iterable[LogRecord]) -> bool:
        """Take records in log order; True if the catalogue changed."""
        before = self.version
        for record in records:
            self.take(record)
        return self.version != before

    def take(self, record: LogRecord) -> None:
        if record.offset <= self._taken:
            self.skipped += 1
            return
        self._taken = record.offset
        if record.key == CLAIM_KEY:
            self._epochs.saw_claim(record.offset)
            return
        event = self._read(record)
        if event is None or not self._epochs.valid(epoch=event.epoch, offset=record.offset):
            self.skipped += 1
            return
        self.version = record.offset
        self._apply(event)

    def _apply(self, event: CatalogueEvent) -> None:
        match event:
            case ModelAdded():
                self._entries[str(event.card.key)] = Entry(
                    event.card, event.origin, event.signature, since_ns=event.at_ns
                )
            case ModelMoved() if known := self._entries.get(event.model):
                self._entries[event.model] = known.to(event.to, at_ns=event.at_ns)
            case ModelRetired():
                self._entries.pop(event.model, None)

    @staticmethod
    def _read(record: LogRecord) -> CatalogueEvent | None:
        try:
            return _EVENT.validate_json(record.value or b"", extra="ignore")
        except ValidationError as error:
            log.warning("%s offset %d is no catalogue event: %s", record.topic, record.offset, error)
            return None
