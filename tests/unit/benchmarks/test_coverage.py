"""The arithmetic of the benchmark of coverage: errors, planted changes, and who knows what when."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.coverage import apart
from benchmarks.covering.measure import ROLLING, STRIDE, Off, after, off_of, rolling, worst
from benchmarks.covering.replay import Change, Prices, Replay, Seen
from benchmarks.covering.scene import Scene, Step, live_cards, seen_until_ms
from benchmarks.covering.ways import GAMMA, Adaptive, Card, Hub
from models.errors import BadValue
from models.evidence import Levels, Outcome
from models.forecast import Forecast
from models.task import INTERVAL_LEVELS
from routing.evidence.recalibration import levels_of
from routing.evidence.rules import EvidenceRules
from tests.unit.routing.outcomes import BAR_MS, HORIZON_MS, LEVELS, START_MS, outcome_of, trial_of
from training.plan import load_plan

CARDS = {str(card.key): card for card in live_cards()}
CARD = levels_of(CARDS["ridge@1"].calibration)
HOUR_MS = 3_600_000
HOUR_BARS = HOUR_MS // BAR_MS
TAIL = INTERVAL_LEVELS.index(0.90)
SCALE = 1e-4


def seen_of(inside: Sequence[int]) -> Seen:
    """Outcomes of one bar after the other."""
    return Seen(START_MS + BAR_MS * np.arange(len(inside)), np.array(inside), np.zeros(len(inside)))


def scene_of(mids: Sequence[float]) -> Scene:
    """A market at these prices, of which a model expects nothing, with intervals as wide as its card says."""
    tail = CARD[TAIL] * SCALE
    forecast = Forecast(
        q05=-tail, q50=0.0, q95=tail, lower=-tail, upper=tail, level=0.9, prob_up=0.5, in_distribution=True
    )
    steps = [
        Step(START_MS + BAR_MS * number, "EURUSD", mid, {"ridge@1": forecast})
        for number, mid in enumerate(mids)
    ]
    return Scene(steps, CARDS, BAR_MS, HORIZON_MS)


class Spy(Card):
    """Notes what it is told and asked, in turn."""

    def __init__(self) -> None:
        super().__init__(CARDS)
        self.heard: list[str] = []

    def levels(self, model: str, symbol: str) -> Levels:
        self.heard.append("asked")
        return super().levels(model, symbol)

    def take(self, outcome: Outcome) -> None:
        self.heard.append(f"bar {(outcome.bar_close_ms - START_MS) // BAR_MS}")

    def publish(self) -> None:
        self.heard.append("published")


def test_coverage_counts_what_the_level_or_a_narrower_one_held() -> None:
    """Index 4 is 0.90 and 5 is 0.95: what only the wider one held is outside the narrower."""
    seen = seen_of([0, TAIL, TAIL + 1, LEVELS])

    assert off_of(seen, 0.90).observed == 0.5
    assert off_of(seen, 0.95).observed == 0.75


def test_the_error_is_that_of_hours() -> None:
    """Two hours, one all inside and one all outside, are two observations and not 720."""
    start_ms = START_MS // HOUR_MS * HOUR_MS
    closes_ms = start_ms + BAR_MS * np.arange(2 * HOUR_BARS)
    seen = Seen(closes_ms, np.repeat([0, LEVELS], HOUR_BARS), np.zeros(2 * HOUR_BARS))

    assert off_of(seen, 0.90) == pytest.approx((0.90, 0.5, 0.5, 2 * HOUR_BARS))


def test_an_excess_is_what_is_beyond_two_errors() -> None:
    """And never below nought; the worst of several may be two different ones."""
    near, far = Off(0.90, 0.88, 0.02, 100), Off(0.90, 0.93, 0.01, 100)

    assert near.excess == 0.0
    assert far.excess == pytest.approx(0.01)
    assert worst([near, far, Off(0.90, 0.80, 0.06, 100)]) == pytest.approx((0.01, 0.10))


def test_windows_roll_over_all_outcomes() -> None:
    """From the first to the last that is full, and one that is too short gives none."""
    inside = [0] * ROLLING + [LEVELS] * (2 * STRIDE)
    shares = [one.observed for one in rolling(seen_of(inside), 0.90)]

    assert shares == pytest.approx([1.0, 1.0 - STRIDE / ROLLING, 1.0 - 2 * STRIDE / ROLLING])
    assert not list(rolling(seen_of([0] * (ROLLING - 1)), 0.90))


def test_what_came_before_a_change_and_right_after_it_does_not_count() -> None:
    """The first that counts is the one after those that are skipped."""
    seen = seen_of(range(20))

    assert after(seen, START_MS + 5 * BAR_MS, skipped=3, counted=4).inside.tolist() == [8, 9, 10, 11]


def test_two_replays_differ_by_their_worst_model() -> None:
    """Alike is nought."""
    first = {"a@1": seen_of([0, 0]), "b@1": seen_of([0, 0, 0, 0])}
    second = {"a@1": seen_of([0, 0]), "b@1": seen_of([0, 0, 0, LEVELS])}

    assert apart(first, first) == 0.0
    assert apart(first, second) == 0.25


def test_after_a_change_moves_are_larger_by_its_factor() -> None:
    """Returns from the last price before it, and none before."""
    prices = Prices(Change(START_MS + 2 * BAR_MS, 2.0))
    mids = [prices.mid(step) for step in scene_of([1.0, 1.1, 1.2, 1.1]).steps]

    assert mids[:2] == [1.0, 1.1]
    assert math.log(mids[2] / 1.1) == pytest.approx(2 * math.log(1.2 / 1.1))
    assert mids[3] == pytest.approx(1.1)


def test_a_forecast_knows_only_horizons_that_have_passed() -> None:
    """Bar 0 is judged by the price of bar 6, which is known to the forecast of bar 7 and to none before."""
    spy = Spy()
    Replay(scene_of([1.0] * 9), spy, publish_closes=1).seen()

    ahead = spy.heard[: spy.heard.index("bar 0")]
    assert ahead.count("asked") == HORIZON_MS // BAR_MS + 1
    since = spy.heard[spy.heard.index("bar 0") + 1 :]
    assert since == ["published", "asked", "bar 1", "published", "asked", "bar 2"]


def test_evidence_is_published_every_so_many_closes() -> None:
    """Before the first, and before every third after it."""
    spy = Spy()
    Replay(scene_of([1.0] * 7), spy, publish_closes=3).seen()

    assert spy.heard.count("published") == 3


def test_a_replay_judges_by_the_intervals_that_the_way_gave() -> None:
    """A move just inside the card's interval at 0.90; one that is twice as large lies outside."""
    move = 0.99 * CARD[TAIL] * SCALE
    mids = [1.0] * 6 + [math.exp(move)]
    held = Replay(scene_of(mids), Card(CARDS), publish_closes=1).seen()["ridge@1"]
    change = Change(START_MS + 6 * BAR_MS, 2.0)
    missed = Replay(scene_of(mids), Card(CARDS), publish_closes=1, change=change).seen()["ridge@1"]

    assert held.inside.tolist() == [TAIL]
    assert missed.loss_bp[0] > held.loss_bp[0] > 0.0
    assert missed.inside[0] > TAIL


def test_the_hub_moves_to_what_it_saw_and_only_when_it_is_published() -> None:
    """Scores of a regime twice as wide as the card's."""
    hub = Hub(CARDS, EvidenceRules())
    for bar in range(EvidenceRules().window_least):
        hub.take(outcome_of(START_MS + bar * BAR_MS, trial_of("ridge@1", score=bar * 0.1)))

    assert hub.levels("ridge@1", "EURUSD") == CARD
    hub.publish()
    assert hub.levels("ridge@1", "EURUSD")[TAIL] == pytest.approx(18.0)


def test_adaptive_inference_widens_after_a_miss_and_narrows_after_a_hit() -> None:
    """A miss and a hit are gamma apart in alpha; the scores are their own quantiles."""
    rules = EvidenceRules(window=1_000, window_least=1_000)
    scores = [number / 1_000 for number in range(1, 1_001)]

    def after_all(last: int) -> float:
        adaptive = Adaptive(CARDS, rules)
        for number, score in enumerate(scores):
            inside = last if number >= len(scores) - 10 else 0
            adaptive.take(outcome_of(START_MS, trial_of("ridge@1", score=score, inside=inside)))
        adaptive.publish()
        return adaptive.levels("ridge@1", "EURUSD")[TAIL]

    assert after_all(LEVELS) - after_all(0) == pytest.approx(10 * GAMMA, abs=0.002)


def test_a_card_says_until_when_its_model_has_seen_data() -> None:
    """The end of its calibration, which lies before the test part; a silent card is refused."""
    plan = load_plan()
    card = CARDS["ridge@1"]

    assert seen_until_ms(card) == plan.calibration.end_ms < plan.test.start_ms
    with pytest.raises(BadValue, match="does not say"):
        seen_until_ms(card.model_copy(update={"trained": {}}))
