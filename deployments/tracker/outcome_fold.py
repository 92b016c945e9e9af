"""What `hub.outcomes` holds so far: the evidence, which closes are judged, and where reading goes on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from pydantic import ValidationError

from messaging.claims import EpochFilter
from messaging.ports import LogRecord
from models.events import CLAIM_KEY
from models.evidence import Outcome
from routing.evidence.fold import EvidenceFold
from routing.evidence.rules import EvidenceRules
from signals.outcomes import TrialSeries

log = logging.getLogger("ray.serve")


class OutcomeFold:
    """The fold of the log from its first record on. What a fenced writer appended does not count."""

    def __init__(self, rules: EvidenceRules) -> None:
        self._epochs = EpochFilter()
        self.fold = EvidenceFold(rules)
        self.until: dict[TrialSeries, int] = {}
        self.resume: dict[int, int] = {}
        self.skipped = 0

    def take_all(self, records: Iterable[LogRecord]) -> None:
        """Take records in log order."""
        for record in records:
            if record.key == CLAIM_KEY:
                self._epochs.saw_claim(record.offset)
                continue
            outcome = _read(record)
            if outcome is None or not self._epochs.valid(epoch=outcome.epoch, offset=record.offset):
                self.skipped += 1
            else:
                self.take(record.offset, outcome)

    def take(self, offset: int, outcome: Outcome) -> None:
        """Take a valid outcome that lies at this offset."""
        self.fold.take(offset, outcome)
        place = outcome.symbol, outcome.bar_ms, outcome.horizon_ms
        for model in (*(trial.model for trial in outcome.trials), *outcome.failed):
            self.until[(model, *place)] = outcome.bar_close_ms
        self.resume[outcome.partition] = outcome.resume


def _read(record: LogRecord) -> Outcome | None:
    try:
        return Outcome.from_record(record.value or b"")
    except ValidationError as error:
        log.warning("%s offset %d is no outcome: %s", record.topic, record.offset, error)
        return None


def counted(outcomes: Iterable[Outcome]) -> Counter[str]:
    """How many forecasts of each model were judged."""
    return Counter(trial.model for outcome in outcomes for trial in outcome.trials)
