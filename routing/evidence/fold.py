"""The fold of `hub.outcomes`, record by record: what all models' outcomes come to."""

from __future__ import annotations

from collections.abc import Collection

from models.evidence import ModelEvidence, Outcome
from routing.evidence.rules import EvidenceRules
from routing.evidence.track import Track


class EvidenceFold:
    """Every model's record after the outcomes taken so far. `cursor` is the offset of the last of them."""

    def __init__(self, rules: EvidenceRules) -> None:
        self._rules = rules
        self._tracks: dict[str, Track] = {}
        self._changed: set[str] = set()
        self.cursor = -1
        self.outcomes = 0

    @property
    def models(self) -> Collection[str]:
        """All that there is evidence of, by `name@version`."""
        return self._tracks.keys()

    def take(self, offset: int, outcome: Outcome) -> None:
        """Fold the outcome that lies at this offset; one that was folded before changes nothing."""
        if offset <= self.cursor:
            return
        self.cursor = offset
        control = next((trial for trial in outcome.trials if trial.model == outcome.control), None)
        for trial in outcome.trials:
            beside = None if trial is control else control
            self._track(trial.model, outcome).add(outcome, trial, beside)
        for model in outcome.failed:
            self._track(model, outcome).failed()
        self.outcomes += len(outcome.trials)

    def evidence(self, model: str) -> ModelEvidence:
        """Of one model that is in `models`."""
        return self._tracks[model].evidence(self.cursor)

    def changed(self, most: int) -> list[ModelEvidence]:
        """Of models whose outcomes were folded since they were told last; at most so many at once, because
        each takes a millisecond.
        """
        told = sorted(self._changed)[:most]
        self._changed.difference_update(told)
        return [self.evidence(model) for model in told]

    def _track(self, model: str, outcome: Outcome) -> Track:
        self._changed.add(model)
        track = self._tracks.get(model)
        if track is None:
            track = self._tracks[model] = Track(model, outcome, self._rules)
        return track
