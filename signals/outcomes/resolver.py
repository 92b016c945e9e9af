"""One partition of `hub.predictions` into outcomes.

    take an owed slot   -> its close is a price: forecasts whose horizon it passes are judged; its own waits
    take a shadow       -> more forecasts, of a moment that waits

Deterministic: the same records give the same outcomes wherever reading begins, as long as it begins at or
before `resume` of the last outcome. No I/O and no clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from models.evidence import Outcome, Shadow, Trial
from models.prediction import Prediction, ReferencePrice, Skipped
from signals.outcomes.judging import judged
from signals.outcomes.waiting import MarketWait, Passed, Waiting

TrialSeries = tuple[str, str, int, int]
"""Model, symbol, bar size, horizon. Of a series a close is judged at most once, and closes only grow."""


class Unjudged(StrEnum):
    """Why a forecast has no outcome."""

    REPEATED = "repeated"
    LATE = "late"
    NO_PRICE = "no_price"
    NO_SPREAD = "no_spread"


class Resolver:
    """Folds one partition in log order. `judged_until` is the last close that is judged, by series; `control`
    picks from the models of a moment the one that skill is measured against.
    """

    def __init__(
        self,
        partition: int,
        *,
        judged_until: Mapping[TrialSeries, int],
        control: Callable[[Sequence[str]], str | None] = lambda _: None,
    ) -> None:
        self._partition = partition
        self._judged_until = dict(judged_until)
        self._control = control
        self._markets: dict[tuple[str, int], MarketWait] = {}
        self.unjudged: Counter[Unjudged] = Counter()

    def take(self, offset: int, owed: Prediction | Skipped, *, epoch: int = -1) -> list[Outcome]:
        """The outcomes that the slot's close brings, oldest first, written under `epoch`."""
        slot = owed.slot
        if owed.reference is None:
            self.unjudged[Unjudged.NO_PRICE] += 1
            return []
        market, mid = self._market(slot.symbol, slot.bar_ms), mid_of(owed.reference)
        passed = market.reach(slot.bar_close_ms, mid)
        if isinstance(owed, Prediction):
            moment = market.moment(slot.bar_close_ms, mid, offset)
            moment.add(slot.horizon_ms, Waiting(_trial(owed), owed.spread, answered=True))
        place = slot.symbol, slot.bar_ms
        found = [outcome for one in passed if (outcome := self._outcome(place, one, epoch))]
        resume = self.resume(offset + 1)
        return [outcome.model_copy(update={"resume": resume}) for outcome in found]

    def shadowed(self, offset: int, shadow: Shadow) -> None:
        """Let its trials wait beside the answer of their moment, unless their horizon has passed."""
        market = self._market(shadow.symbol, shadow.bar_ms)
        if market.passed(shadow.bar_close_ms + shadow.horizon_ms):
            self.unjudged[Unjudged.LATE] += len(shadow.trials)
            return
        moment = market.moment(shadow.bar_close_ms, shadow.mid, offset)
        for trial in shadow.trials:
            moment.add(shadow.horizon_ms, Waiting(trial, trial.spread, answered=False))

    def resume(self, following: int) -> int:
        """From where a successor has to read to miss nothing, if `following` is the next offset here."""
        firsts = [market.first_offset() for market in self._markets.values()]
        return min([first for first in firsts if first is not None], default=following)

    def _market(self, symbol: str, bar_ms: int) -> MarketWait:
        return self._markets.setdefault((symbol, bar_ms), MarketWait(bar_ms))

    def _outcome(self, place: tuple[str, int], passed: Passed, epoch: int) -> Outcome | None:
        """What became of a moment; None if nothing in it can be judged, or all of it was."""
        fresh = [one for one in passed.waited if self._fresh(place, passed, one.trial.model)]
        if passed.mid is None:
            self.unjudged[Unjudged.NO_PRICE] += len(fresh)
            return None
        realised = math.log(passed.mid / passed.moment.mid)
        trials = [
            judged(one.trial, one.spread, realised, answered=one.answered) for one in fresh if one.spread
        ]
        failed = {one.trial.model: one.trial.failed for one in fresh if one.trial.failed}
        self.unjudged[Unjudged.NO_SPREAD] += len(fresh) - len(trials) - len(failed)
        if not (trials or failed):
            return None
        symbol, bar_ms = place
        return Outcome(
            epoch=epoch,
            symbol=symbol,
            bar_ms=bar_ms,
            horizon_ms=passed.horizon_ms,
            bar_close_ms=passed.moment.close_ms,
            realised=realised,
            trials=tuple(trials),
            control=self._control([trial.model for trial in trials]),
            failed=failed,
            partition=self._partition,
            resume=-1,
        )

    def _fresh(self, place: tuple[str, int], passed: Passed, model: str) -> bool:
        """Whether this moment of the series was never judged; it is from now on."""
        series, close_ms = (model, *place, passed.horizon_ms), passed.moment.close_ms
        if close_ms <= self._judged_until.get(series, -1):
            self.unjudged[Unjudged.REPEATED] += 1
            return False
        self._judged_until[series] = close_ms
        return True


def mid_of(reference: ReferencePrice) -> float:
    """The price that a forecast starts from, and that it is held against."""
    return (reference.bid + reference.ask) / 2


def _trial(owed: Prediction) -> Trial:
    lineage = owed.lineage
    return Trial(
        model=f"{lineage.model}@{lineage.version}",
        calibration=lineage.calibration,
        location=owed.forecast.q50,
        prob_up=owed.forecast.prob_up,
        service_us=lineage.inference_us,
    )
