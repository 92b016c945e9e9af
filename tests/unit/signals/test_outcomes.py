"""Forecasts are judged once, when the market has passed their horizon, by prices that are in the log."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from models.evidence import Outcome, Shadow, Spread, Trial
from models.prediction import Prediction, ReferencePrice, Skipped
from models.task import INTERVAL_LEVELS
from signals.outcomes import Resolver, Unjudged, judging
from tests.unit.signals.records import BAR_MS, CLOSE_MS, LINEAGE, forecast, prediction, skipped, slot

MULTIPLIERS = tuple(0.5 + index / 2 for index in range(len(INTERVAL_LEVELS)))
SPREAD = Spread(scale=1e-4, multipliers=MULTIPLIERS)
HORIZON = 6


def close_of(bar: int) -> int:
    """Close of the bar of that number."""
    return CLOSE_MS + bar * BAR_MS


def quote(mid: float, bar: int) -> ReferencePrice:
    """A quote around a mid at a close."""
    return ReferencePrice(bid=mid - 5e-5, ask=mid + 5e-5, ts_ms=close_of(bar))


def predicted(bar: int, mid: float = 1.1, *, model: str = "ridge", strategy: str = "alpha@1") -> Prediction:
    """A prediction at a bar's close, whose median is no change."""
    made = prediction(slot(close_of(bar), strategy=strategy))
    return made.model_copy(
        update={
            "reference": quote(mid, bar),
            "forecast": forecast(0.0),
            "lineage": LINEAGE.model_copy(update={"model": model}),
            "spread": SPREAD,
        }
    )


def without_forecast(bar: int, mid: float = 1.1) -> Skipped:
    """A slot that was skipped; its price is known all the same."""
    return skipped(slot(close_of(bar))).model_copy(update={"reference": quote(mid, bar)})


def beside(bar: int, *trials: Trial, mid: float = 1.1) -> Shadow:
    """Forecasts beside the one of a bar."""
    return Shadow(
        epoch=0,
        symbol="EURUSD",
        bar_ms=BAR_MS,
        horizon_ms=HORIZON * BAR_MS,
        bar_close_ms=close_of(bar),
        mid=mid,
        trials=trials,
    )


def trial(model: str, *, location: float = 0.0, scale: float = 1e-4) -> Trial:
    """A forecast of a model that did not answer."""
    return Trial(model=model, location=location, spread=Spread(scale=scale, multipliers=MULTIPLIERS))


def resolver(judged_until: dict[tuple[str, str, int, int], int] | None = None) -> Resolver:
    """A resolver of partition 3, with `naive` as its control."""
    return Resolver(
        3,
        judged_until=judged_until or {},
        control=lambda models: next((name for name in models if name.startswith("naive")), None),
    )


def test_a_forecast_is_judged_at_its_horizon() -> None:
    """Not a bar before; by the mid at its own close and the one at the horizon."""
    fold = resolver()
    assert fold.take(10, predicted(0, 1.1)) == []
    for bar in range(1, HORIZON):
        assert fold.take(10 + bar, without_forecast(bar, 2.0)) == []

    (outcome,) = fold.take(16, without_forecast(HORIZON, 1.10011), epoch=4)

    assert outcome.realised == pytest.approx(math.log(1.10011 / 1.1))
    assert (outcome.epoch, outcome.partition, outcome.bar_close_ms) == (4, 3, close_of(0))
    (judged,) = outcome.trials
    assert (judged.model, judged.answered, judged.calibration) == ("ridge@1", True, "c1")
    assert judged.score == pytest.approx(outcome.realised / 1e-4)
    assert judged.inside == 1, "the score is just below 1: outside the narrowest interval, inside the next"


def test_losses_are_those_of_the_card() -> None:
    """The same numbers as training computes for the same forecast and outcome, on every level."""
    np = pytest.importorskip("numpy")
    evidence = pytest.importorskip("training.evidence")
    calibration = pytest.importorskip("inference.calibration")
    card = pytest.importorskip("models.card")
    rng = random.Random(4)
    for _ in range(50):
        location, scale = rng.gauss(0, 1e-4), rng.uniform(1e-5, 3e-4)
        realised, logit = rng.gauss(0, 2e-4), rng.gauss(0, 1)
        raw = calibration.RawOutputs(*(np.array([value]) for value in (location, scale, logit)))
        multipliers = {f"{level:.2f}": m for level, m in zip(INTERVAL_LEVELS, MULTIPLIERS, strict=True)}
        expected = evidence.losses_of(
            raw, card.Calibration(version="c", n=1, multipliers=multipliers), np.array([realised])
        )
        fold = resolver()
        fold.take(0, without_forecast(0, 1.0))
        prob_up = 1 / (1 + math.exp(-logit))
        shadow = trial("m@1", location=location, scale=scale).model_copy(update={"prob_up": prob_up})
        fold.shadowed(1, beside(0, shadow, mid=1.0))
        (outcome,) = fold.take(2, without_forecast(HORIZON, math.exp(realised)))

        judged = outcome.trials[0]
        assert judged.interval_loss == pytest.approx(float(expected.interval[0]), rel=1e-6)
        assert judged.pinball_loss == pytest.approx(float(expected.pinball[0]), rel=1e-6)
        assert judged.right == float(expected.right_direction[0])
        inside = [float(expected.inside[f"{level:.2f}"][0]) for level in INTERVAL_LEVELS]
        assert [float(index >= judged.inside) for index in range(len(INTERVAL_LEVELS))] == inside


@pytest.mark.parametrize(
    ("prob_up", "median", "right"),
    [(0.6, -1e-5, 1.0), (0.4, 1e-5, 0.0), (0.5, 1e-5, 1.0), (0.5, -1e-5, 0.0), (0.5, 0.0, 0.5)],
)
def test_a_direction_is_that_of_the_median_where_the_probability_has_none(
    prob_up: float, median: float, right: float
) -> None:
    """As of models that were calibrated to a slope of 0. Only where the median has none either it is half
    right; a price that stays where it was is no direction.
    """
    named = trial("m@1", location=median).model_copy(update={"prob_up": prob_up})
    found = [judging.judged(named, SPREAD, realised, answered=True).right for realised in (2e-4, -2e-4, 0.0)]

    assert found == [right, 1 - right, None]


def test_one_model_counts_once_however_many_strategies_it_answered() -> None:
    """Two strategies were answered by one model, a third by another; a shadow of one of them adds nothing."""
    fold = resolver()
    fold.take(0, predicted(0))
    fold.take(1, predicted(0, strategy="beta@1"))
    fold.take(2, predicted(0, model="naive", strategy="gamma@1"))
    fold.shadowed(3, beside(0, trial("ridge@1", location=9.0), trial("mlp@1")))

    (outcome,) = fold.take(4, without_forecast(HORIZON))

    assert {one.model: one.answered for one in outcome.trials} == {
        "ridge@1": True,
        "naive@1": True,
        "mlp@1": False,
    }
    assert outcome.control == "naive@1"
    assert all(one.score == 0 for one in outcome.trials)


def test_who_gave_no_forecast_is_named() -> None:
    """A model that fails is part of the outcome, without a judgement."""
    fold = resolver()
    fold.shadowed(0, beside(0, trial("mlp@1"), Trial(model="bad@1", failed="inference_failed")))

    (outcome,) = fold.take(1, without_forecast(HORIZON))

    assert outcome.failed == {"bad@1": "inference_failed"}
    assert [one.model for one in outcome.trials] == ["mlp@1"]


def test_a_shadow_behind_its_horizon_is_late() -> None:
    """It cannot be judged without having seen what it forecasts."""
    fold = resolver()
    fold.take(0, without_forecast(HORIZON))
    fold.shadowed(1, beside(0, trial("mlp@1")))

    assert fold.unjudged == Counter({Unjudged.LATE: 1})
    assert fold.take(2, without_forecast(HORIZON + 1)) == []


def test_a_hole_in_the_log_leaves_no_guess() -> None:
    """Where the close at the horizon is missing and the one before is no bar away, nothing is judged."""
    fold = resolver()
    fold.take(0, predicted(0))
    fold.take(1, without_forecast(2))

    assert fold.take(2, without_forecast(HORIZON + 4)) == []
    assert fold.unjudged == Counter({Unjudged.NO_PRICE: 1})


def test_a_horizon_between_two_closes_has_the_price_of_the_earlier() -> None:
    """A bar's close is the price until the next."""
    fold = resolver()
    owed = predicted(0)
    shifted = owed.slot.model_copy(update={"horizon_ms": HORIZON * BAR_MS + 500})
    fold.take(0, owed.model_copy(update={"slot": shifted}))
    fold.take(1, without_forecast(HORIZON, 1.2))

    (outcome,) = fold.take(2, without_forecast(HORIZON + 1, 1.3))

    assert outcome.realised == pytest.approx(math.log(1.2 / 1.1))


def test_what_was_judged_is_not_judged_again() -> None:
    """A successor that reads the same records again knows it by the series."""
    fold = resolver({("ridge@1", "EURUSD", BAR_MS, HORIZON * BAR_MS): close_of(0)})
    fold.take(0, predicted(0))
    fold.take(1, predicted(1))

    assert fold.take(2, without_forecast(HORIZON)) == []
    (outcome,) = fold.take(3, without_forecast(HORIZON + 1))
    assert outcome.bar_close_ms == close_of(1)
    assert fold.unjudged == Counter({Unjudged.REPEATED: 1})


def test_a_prediction_of_an_older_hub_is_not_judged() -> None:
    """Without its distribution only one of its intervals is known."""
    fold = resolver()
    fold.take(0, predicted(0).model_copy(update={"spread": None}))

    assert fold.take(1, without_forecast(HORIZON)) == []
    assert fold.unjudged == Counter({Unjudged.NO_SPREAD: 1})


@pytest.mark.parametrize("seed", range(20))
def test_wherever_a_successor_begins_the_outcomes_are_the_same(seed: int) -> None:
    """One reader reads everything; of others, each in a row takes over where the last outcome says."""
    rng = random.Random(seed)
    log = history(rng)
    whole = [outcome for offset, record in enumerate(log) for outcome in fed(ALONE[seed], offset, record)]

    taken: list[Outcome] = []
    position = 0
    while position < len(log):
        until: dict[tuple[str, str, int, int], int] = {}
        for outcome in taken:
            for one in outcome.trials:
                until[(one.model, outcome.symbol, outcome.bar_ms, outcome.horizon_ms)] = outcome.bar_close_ms
        position = taken[-1].resume if taken else 0
        lives_until = rng.randrange(position, len(log)) + 20
        successor = resolver(until)
        for offset in range(position, min(lives_until, len(log))):
            taken += fed(successor, offset, log[offset])
        position = lives_until

    assert [stripped(outcome) for outcome in taken] == [stripped(outcome) for outcome in whole]
    assert len(whole) > 30


ALONE = {seed: resolver() for seed in range(20)}


def history(rng: random.Random) -> list[Prediction | Skipped | Shadow]:
    """A hundred bars: predictions, slots without, and shadows that come behind the next bar's."""
    log: list[Prediction | Skipped | Shadow] = []
    waiting: list[Shadow] = []
    mid = 1.1
    for bar in range(100):
        mid *= math.exp(rng.gauss(0, 1e-4))
        log.append(predicted(bar, mid) if rng.random() < 0.7 else without_forecast(bar, mid))
        log += waiting
        waiting = [beside(bar, trial("mlp@1"), mid=mid)] if rng.random() < 0.5 else []
    return log


def fed(fold: Resolver, offset: int, record: Prediction | Skipped | Shadow) -> list[Outcome]:
    """What a record brings."""
    if isinstance(record, Shadow):
        fold.shadowed(offset, record)
        return []
    return fold.take(offset, record)


def stripped(outcome: Outcome) -> Outcome:
    """Without what depends on where reading began: a moment that nothing waits in holds nobody back."""
    return outcome.model_copy(update={"resume": 0})
