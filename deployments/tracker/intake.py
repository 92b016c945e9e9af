"""One partition of `hub.predictions` as the tracker reads it: valid records in, outcomes out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pydantic import ValidationError

from messaging.claims import EpochFilter
from messaging.ports import LogRecord
from models.evidence import SHADOW_KEY, Outcome, Shadow
from signals.outcomes import Resolver
from signals.reader import PredictionRules, Verdict

log = logging.getLogger("ray.serve")


class Intake:
    """Applies the rules that every reader applies, so that void and repeated records are judged by nobody."""

    def __init__(self, epochs: EpochFilter, resolver: Resolver) -> None:
        self._epochs = epochs
        self._rules = PredictionRules(epochs)
        self._resolver = resolver

    def take(self, record: LogRecord, *, epoch: int) -> Sequence[Outcome]:
        """The outcomes that a record brings, to be written under `epoch`."""
        if record.key == SHADOW_KEY:
            self._shadow(record)
            return ()
        reading = self._rules.take(record.offset, record.key, record.value)
        if reading.verdict is not Verdict.ACCEPTED or reading.owed is None:
            return ()
        return self._resolver.take(record.offset, reading.owed, epoch=epoch)

    def _shadow(self, record: LogRecord) -> None:
        try:
            shadow = Shadow.from_record(record.value or b"")
        except ValidationError as error:
            log.warning("%s offset %d is no shadow: %s", record.topic, record.offset, error)
            return
        if self._epochs.valid(epoch=shadow.epoch, offset=record.offset):
            self._resolver.shadowed(record.offset, shadow)
