"""A process's own copy of what is known of models: the catalogue, with the evidence since their cards.

Evidence needs no fence: it is a fold of `hub.outcomes`, and the one that was folded furthest counts. While
the tracker or the broker is away, the copy goes on serving and only grows older.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final, NoReturn

from pydantic import ValidationError

from deployments.router.ports import CatalogueSource
from messaging.ports import EventBus, LogRecord
from messaging.topics import EVIDENCE
from models.errors import MessagingError
from models.evidence import ModelEvidence
from routing.catalogue import Catalogue

log = logging.getLogger("ray.serve")

_PARTITION: Final = 0
_WAIT_S: Final = 1.0
_RETRY_S: Final = 1.0
_LATE_MS: Final = 100


class EvidenceTail:
    """Follows `hub.evidence`. Run `run` as a task; `evidence` is replaced, never changed."""

    def __init__(self, bus: EventBus, *, rng: Random) -> None:
        self._bus = bus
        self._rng = rng
        self._position = 0
        self.evidence: Mapping[str, ModelEvidence] = {}

    async def run(self) -> NoReturn:
        """Follow the log until cancelled; a broker that is away is asked again about once a second."""
        while True:
            try:
                await self._follow()
            except MessagingError as error:
                log.warning("evidence of models is not followed: %s", error.message)
                await asyncio.sleep(_RETRY_S * (0.5 + self._rng.random()))

    async def _follow(self) -> NoReturn:
        tail = await self._bus.tail(EVIDENCE.name, {_PARTITION: self._position}, late_ms=_LATE_MS)
        try:
            while True:
                self._take(await tail.batch(max_wait_s=_WAIT_S))
                self._position = tail.position(_PARTITION)
        finally:
            await tail.close()

    def _take(self, records: Iterable[LogRecord]) -> None:
        newest = dict(self.evidence)
        for found in filter(None, map(_read, records)):
            known = newest.get(found.model)
            if known is None or found.cursor > known.cursor:
                newest[found.model] = found
        if any(found is not self.evidence.get(model) for model, found in newest.items()):
            self.evidence = newest


class KnownModels:
    """The catalogue with the evidence, compiled anew when one of them has changed."""

    def __init__(self, source: CatalogueSource, tail: EvidenceTail) -> None:
        self._source = source
        self._tail = tail
        self._cards = source.catalogue
        self._evidence = tail.evidence
        self._compiled = self._cards

    @property
    def complete(self) -> bool:
        """Whether the catalogue was read to its end at least once."""
        return self._source.complete

    @property
    def catalogue(self) -> Catalogue:
        """The newest copy. Good for as long as it is used."""
        cards, evidence = self._source.catalogue, self._tail.evidence
        if cards is not self._cards or evidence is not self._evidence:
            self._compiled = Catalogue.of(
                cards.cards,
                version=cards.version,
                evidence=evidence,
                entitlements=cards.entitlements,
                before=self._compiled,
            )
            self._cards, self._evidence = cards, evidence
        return self._compiled


def _read(record: LogRecord) -> ModelEvidence | None:
    try:
        return ModelEvidence.from_record(record.value or b"")
    except ValidationError as error:
        log.warning("%s offset %d is no evidence: %s", record.topic, record.offset, error)
        return None
