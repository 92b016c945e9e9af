"""A scene played to the shipped judge: forecasts at the calibration known at their moment, then outcomes.

A forecast at a close knows outcomes whose horizons passed before it. The price of the close itself becomes
known together with the forecast, so what it settles counts from the next close on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.covering.scene import Scene, Step
from benchmarks.covering.ways import Way
from models.evidence import Levels, Outcome, Shadow, Trial
from models.prediction import ReferencePrice, Skipped, SkipReason, Slot
from routing.evidence.recalibration import levels_of, recalibrated, spread_of
from signals.outcomes import Resolver


class Change(NamedTuple):
    """From `at_ms` on every move of the market is `times` as large, and no window shows it."""

    at_ms: int
    times: float


class Seen(NamedTuple):
    """A model's outcomes in the order of their closes; `inside` is the index of the narrowest level that held
    one, `loss_bp` the interval loss, as in `TrialOutcome`.
    """

    close_ms: NDArray[np.int64]
    inside: NDArray[np.int64]
    loss_bp: NDArray[np.float64]

    def part(self, first: int, last: int) -> Seen:
        """The outcomes in [first, last)."""
        rows = slice(first, last)
        return Seen(self.close_ms[rows], self.inside[rows], self.loss_bp[rows])


class Prices:
    """What the judge takes for the market: the real prices, or what they were after a change."""

    def __init__(self, change: Change | None) -> None:
        self._change = change
        self._bases: dict[str, float] = {}

    def mid(self, step: Step) -> float:
        """The price at a close; closes come in order."""
        change = self._change
        if change is None or step.close_ms < change.at_ms:
            self._bases[step.symbol] = step.mid
            return step.mid
        base = self._bases.setdefault(step.symbol, step.mid)
        return float(base * (step.mid / base) ** change.times)


class Replay:
    """One way to calibrate on one scene; it publishes before every `publish_closes`-th close."""

    def __init__(self, scene: Scene, way: Way, *, publish_closes: int, change: Change | None = None) -> None:
        self._scene = scene
        self._way = way
        self._publish_closes = publish_closes
        self._prices = Prices(change)
        self._resolver = Resolver(0, judged_until={})

    def seen(self) -> dict[str, Seen]:
        """How the forecasts of every model did."""
        found: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
        for outcome in self._outcomes():
            for trial in outcome.trials:
                found[trial.model].append((outcome.bar_close_ms, trial.inside, trial.interval_loss))
        return {model: Seen(*map(np.array, zip(*rows, strict=True))) for model, rows in found.items()}

    def _outcomes(self) -> Iterator[Outcome]:
        closes = groupby(self._scene.steps, key=attrgetter("close_ms"))
        for number, (_, steps) in enumerate(closes):
            if number % self._publish_closes == 0:
                self._way.publish()
            for step in steps:
                yield from self._taken(number, step)

    def _taken(self, number: int, step: Step) -> Sequence[Outcome]:
        """Forecast, then learn what the price of this close settles of earlier forecasts."""
        mid = self._prices.mid(step)
        shadow = self._shadow(step, mid)
        outcomes = self._resolver.take(number, self._priced(step, mid))
        if shadow.trials:
            self._resolver.shadowed(number, shadow)
        for outcome in outcomes:
            self._way.take(outcome)
        return outcomes

    def _shadow(self, step: Step, mid: float) -> Shadow:
        trials = (self._trial(model, step) for model in step.forecasts)
        return Shadow(
            epoch=0,
            symbol=step.symbol,
            bar_ms=self._scene.bar_ms,
            horizon_ms=self._scene.horizon_ms,
            bar_close_ms=step.close_ms,
            mid=mid,
            trials=tuple(trials),
        )

    def _trial(self, model: str, step: Step) -> Trial:
        card = levels_of(self._scene.cards[model].calibration)
        return trial_at(model, step, card=card, now=self._way.levels(model, step.symbol))

    def _priced(self, step: Step, mid: float) -> Skipped:
        """A slot without a forecast: it tells the judge the price of its close."""
        slot = Slot(
            signal_id="",
            strategy="",
            symbol=step.symbol,
            bar_ms=self._scene.bar_ms,
            horizon_ms=self._scene.horizon_ms,
            bar_close_ms=step.close_ms,
        )
        return Skipped(
            epoch=0,
            slot=slot,
            asof_ms=step.close_ms,
            generated_ns=0,
            expires_ns=0,
            stages={},
            traceparent="",
            reason=SkipReason.NO_WINDOW,
            detail="",
            reference=ReferencePrice(bid=mid, ask=mid, ts_ms=step.close_ms),
        )


def trial_at(model: str, step: Step, *, card: Levels, now: Levels) -> Trial:
    """A model's forecast at the calibration `now` instead of the card's."""
    forecast = recalibrated(step.forecasts[model], card, now)
    spread = spread_of(forecast, now)
    return Trial(model=model, location=forecast.q50, prob_up=forecast.prob_up, spread=spread)
