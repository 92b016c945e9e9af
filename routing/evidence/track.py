"""One model's record: its tallies by instrument, its failures, its speed, its history."""

from __future__ import annotations

from collections import deque
from typing import Final

from models.card import POOLED
from models.evidence import ModelEvidence, Outcome, Recalibration, TrialOutcome
from models.task import INTERVAL_LEVELS
from routing.evidence.clusters import FadingSums, Vector
from routing.evidence.history import History
from routing.evidence.rules import EvidenceRules
from routing.evidence.tally import Tally, coverage_of

_ASKED_KEPT: Final = 200
_TIMES_KEPT: Final = 512


class Track:
    """Folds what concerns one model version."""

    def __init__(self, model: str, first: Outcome, rules: EvidenceRules) -> None:
        self._model = model
        self._rules = rules
        self._bar_ms, self._horizon_ms = first.bar_ms, first.horizon_ms
        self._cluster_ms = rules.cluster_horizons * first.horizon_ms
        self._from_ms = self._to_ms = first.bar_close_ms
        self._tallies = {POOLED: self._tally(POOLED)}
        self._recent = FadingSums(rules.recent_clusters * self._cluster_ms)
        stretch_ms = rules.stretch_clusters * self._cluster_ms
        self._history = History(stretch_ms=stretch_ms, kept=rules.stretches)
        self._asked: deque[bool] = deque(maxlen=_ASKED_KEPT)
        self._times_us: deque[int] = deque(maxlen=_TIMES_KEPT)
        self._answered = 0

    def add(self, outcome: Outcome, trial: TrialOutcome, control: TrialOutcome | None) -> None:
        """Add how a forecast did. The control is not measured against itself."""
        close_ms, symbol = outcome.bar_close_ms, outcome.symbol
        tally = self._tallies.get(symbol)
        if tally is None:
            tally = self._tallies[symbol] = self._tally(symbol)
        tally.add(trial, control, close_ms)
        if (ended := self._tallies[POOLED].add(trial, control, close_ms)) is not None:
            self._cluster_ended(ended)
        self._to_ms = max(self._to_ms, close_ms)
        self._asked.append(True)
        self._times_us.append(trial.service_us)
        self._answered += trial.answered

    def failed(self) -> None:
        """Add that it was asked and gave no forecast."""
        self._asked.append(False)

    def evidence(self, cursor: int) -> ModelEvidence:
        """All that is known after the outcome at `cursor`."""
        name, _, version = self._model.partition("@")
        tallies = sorted(self._tallies.items())
        return ModelEvidence(
            name=name,
            version=version,
            cursor=cursor,
            bar_ms=self._bar_ms,
            horizon_ms=self._horizon_ms,
            from_ms=self._from_ms,
            to_ms=self._to_ms,
            outcomes=self._tallies[POOLED].n,
            answered=self._answered,
            asked=len(self._asked),
            failures=len(self._asked) - sum(self._asked),
            service_ms=self._service_ms(),
            instruments=tuple(found for _, tally in tallies if (found := tally.evidence())),
            drift=self._drift(),
            calibration=self._calibration(cursor),
            history=self._history.stretches(),
        )

    def _tally(self, instrument: str) -> Tally:
        return Tally(instrument, self._rules, cluster_ms=self._cluster_ms)

    def _cluster_ended(self, sums: Vector) -> None:
        ended_ms = (self._to_ms // self._cluster_ms + 1) * self._cluster_ms
        self._recent.add(sums, ended_ms)
        self._history.add(sums, ended_ms)

    def _drift(self) -> float:
        """By how much the recent coverage of some level surely falls short of the level."""
        if self._recent.clusters < min(self._rules.first_clusters, self._rules.recent_clusters):
            return 0.0
        recent = coverage_of(self._recent, self._tallies[POOLED].n, self._rules)
        short = (level - recent[f"{level:.2f}"].upper for level in INTERVAL_LEVELS)
        return round(max(0.0, *short), 5)

    def _calibration(self, cursor: int) -> Recalibration | None:
        found = {name: each for name, tally in self._tallies.items() if (each := tally.multipliers())}
        if not found:
            return None
        return Recalibration(version=f"{self._model.replace('@', '-')}-o{cursor}", multipliers=found)

    def _service_ms(self) -> tuple[float, float]:
        """Median and 99th percentile."""
        times = sorted(self._times_us) or [0]
        return times[len(times) // 2] / 1e3, times[len(times) * 99 // 100] / 1e3
