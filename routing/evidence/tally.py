"""Everything that is kept of one model's outcomes, on one instrument or on all."""

from __future__ import annotations

from collections import deque
from itertools import accumulate

import numpy as np

from models.card import Bounded
from models.evidence import Levels, LiveEvidence, TrialOutcome
from models.task import INTERVAL_LEVELS
from routing.evidence import clusters as at
from routing.evidence.bounds import bounded, gained, share_bounded
from routing.evidence.clusters import FadingSums, Vector
from routing.evidence.conformal import multipliers_of
from routing.evidence.rules import EvidenceRules


class Cluster:
    """Outcomes that count as one observation, while they come. Plain numbers: this runs for every outcome."""

    __slots__ = ("inside", "sums", "until_ms")

    def __init__(self, until_ms: int) -> None:
        self.until_ms = until_ms
        self.inside = [0] * (at.LEVELS + 1)
        self.sums = [0.0] * at.WIDTH

    def add(self, trial: TrialOutcome, control: TrialOutcome | None) -> None:
        sums = self.sums
        self.inside[trial.inside] += 1
        sums[at.LOSS] += trial.interval_loss
        if control is not None:
            sums[at.PAIRED_LOSS] += trial.interval_loss
            sums[at.CONTROL_LOSS] += control.interval_loss
            sums[at.PAIRED_PINBALL] += trial.pinball_loss
            sums[at.CONTROL_PINBALL] += control.pinball_loss
        if trial.right is not None:
            sums[at.RIGHT] += trial.right
            sums[at.MOVED] += 1.0

    def vector(self) -> Vector:
        """All sums; a level holds what every narrower one does."""
        found = np.array(self.sums)
        held = list(accumulate(self.inside))
        found[at.COUNT] = held[-1]
        found[at.INSIDE.start : at.INSIDE.stop] = held[:-1]
        return found


class Tally:
    """Folds outcomes of one model; clusters are those of market time, so all models have the same."""

    def __init__(self, instrument: str, rules: EvidenceRules, *, cluster_ms: int) -> None:
        self._instrument = instrument
        self._rules = rules
        self._cluster_ms = cluster_ms
        self._open: Cluster | None = None
        self._sums = FadingSums(rules.half_life_ms)
        self._scores: deque[float] = deque(maxlen=rules.window)
        self.n = 0

    def add(self, trial: TrialOutcome, control: TrialOutcome | None, close_ms: int) -> Vector | None:
        """Add an outcome; the cluster that ended with it, if one did."""
        ended = None
        if self._open is None or close_ms >= self._open.until_ms:
            ended = self._end(close_ms)
        assert self._open is not None  # noqa: S101 - `_end` opens one
        self._open.add(trial, control)
        self._scores.append(trial.score)
        self.n += 1
        return ended

    def multipliers(self) -> Levels | None:
        """What would have kept every level's promise lately; None with too few outcomes."""
        return multipliers_of(self._scores) if len(self._scores) >= self._rules.window_least else None

    def evidence(self) -> LiveEvidence | None:
        """What is known; None while that is too little to bound anything."""
        sums, rules = self._sums, self._rules
        if sums.clusters < rules.first_clusters:
            return None
        return LiveEvidence(
            instrument=self._instrument,
            n=self.n,
            clusters=round(sums.clusters, 2),
            weight=round(sums.clusters / (sums.clusters + rules.prior_clusters), 5),
            coverage=coverage_of(sums, self.n, rules),
            interval_score=self._bounded(at.LOSS, at.COUNT),
            skill=self._skill(at.PAIRED_LOSS, at.CONTROL_LOSS),
            pinball_skill=self._skill(at.PAIRED_PINBALL, at.CONTROL_PINBALL),
            direction_accuracy=self._bounded(at.RIGHT, at.MOVED) if sums.has(at.MOVED) else None,
        )

    def _bounded(self, numerator: int, denominator: int) -> Bounded:
        rules, ratio = self._rules, self._sums.ratio(numerator, denominator)
        return bounded(ratio, self.n, alpha=rules.alpha, first=rules.first_clusters)

    def _skill(self, numerator: int, denominator: int) -> Bounded | None:
        return gained(self._bounded(numerator, denominator)) if self._sums.has(denominator) else None

    def _end(self, close_ms: int) -> Vector | None:
        """Close the cluster that is open, and open the one of `close_ms`."""
        ended, self._open = self._open, Cluster((close_ms // self._cluster_ms + 1) * self._cluster_ms)
        if ended is None:
            return None
        vector = ended.vector()
        self._sums.add(vector, ended.until_ms)
        return vector


def coverage_of(sums: FadingSums, n: int, rules: EvidenceRules) -> dict[str, Bounded]:
    """Share of outcomes inside each level's interval."""
    return {
        f"{level:.2f}": share_bounded(sums.share(place), n, alpha=rules.alpha, first=rules.first_clusters)
        for level, place in zip(INTERVAL_LEVELS, at.INSIDE, strict=True)
    }
