"""The forecaster from ticks to records: which slots are due, what settles them, and what a new owner does."""

from __future__ import annotations

import asyncio

import pytest

from models.errors import DeadlineExpired, NoModelMatches, ReplicaLost
from models.prediction import Prediction, Skipped, SkipReason
from models.request import Requirements
from models.strategy import ForecastNeeds
from tests.unit.forecaster.scene import BAR_MS, SECOND_NS, START_MS, Scene, stored, strategy

BOTH = ("EURUSD", "NZDUSD")


@pytest.fixture
def scene() -> Scene:
    """Servers without a worker, and no history."""
    return Scene()


def at(bars: float) -> int:
    """Market time so many bars after the start."""
    return START_MS + int(bars * BAR_MS)


async def test_every_bar_after_the_start_owes_one_prediction(scene: Scene) -> None:
    """With ticks or without; the bar that ends the history owes nothing."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tick(at(0.5), 1.2)
        for bars in (1, 2, 3):
            await scene.tell(at(bars))
            await scene.settled(bars)

    owed = scene.owed()
    assert scene.closes() == [1, 2, 3]
    assert all(isinstance(one, Prediction) for one in owed)
    assert [one.asof_ms for one in owed] == [at(0.5)] * 3


async def test_a_prediction_says_when_its_bar_closed_and_when_it_expires(scene: Scene) -> None:
    """Expiry counts from the clock message that closed the bar; the quote is that of the close."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tick(at(0.5), 1.2)
        await scene.tell(at(1))
        (owed,) = await scene.settled(1)

    assert isinstance(owed, Prediction)
    assert owed.expires_ns == scene.now_ns + 5 * SECOND_NS
    assert owed.stages == {"tick": scene.now_ns, "window": scene.now_ns, "decided": 1}
    assert (owed.reference.bid, owed.reference.ask) == pytest.approx((1.2, 1.2001))


async def test_slots_due_together_go_in_one_call_per_needs(scene: Scene) -> None:
    """Two symbols, two strategies with equal needs and one with others: two calls, one row a window."""
    swift = ForecastNeeds(max_latency_ms=50)
    for symbol in BOTH:
        await scene.seed(symbol)
    async with scene.running(
        strategy("a", symbols=BOTH), strategy("b", symbols=BOTH), strategy("c", symbols=BOTH, needs=swift)
    ):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        await scene.settled(3)
        await scene.settled(3, "NZDUSD")

    assert [call.rows for call, _ in scene.router.calls] == [2, 2]
    assert {call.instruments for call, _ in scene.router.calls} == {BOTH}
    deadlines = sorted(call.deadline_ns - scene.now_ns for call, _ in scene.router.calls)
    assert deadlines == [50_000_000, 500_000_000]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoModelMatches("nothing covers 99.9 %"), SkipReason.REFUSED),
        (ReplicaLost("it died"), SkipReason.REFUSED),
        (DeadlineExpired("too late"), SkipReason.TIMEOUT),
    ],
)
async def test_a_slot_without_an_answer_is_recorded_with_its_reason(
    scene: Scene, error: Exception, reason: SkipReason
) -> None:
    """Nothing that is due disappears."""

    def refuse(_: Requirements) -> None:
        raise error

    scene.router.before = refuse
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        (owed,) = await scene.settled(1)

    assert isinstance(owed, Skipped)
    assert owed.reason is reason
    assert str(error) in owed.detail


async def test_a_symbol_without_a_model_does_not_spoil_the_others(scene: Scene) -> None:
    """A refused call for two symbols is asked again for each."""

    def refuse(requirements: Requirements) -> None:
        if "NZDUSD" in requirements.instruments:
            raise NoModelMatches("no model serves NZDUSD")

    scene.router.before = refuse
    for symbol in BOTH:
        await scene.seed(symbol)
    async with scene.running(strategy(symbols=BOTH)):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        (good,) = await scene.settled(1)
        (bad,) = await scene.settled(1, "NZDUSD")

    assert isinstance(good, Prediction)
    assert isinstance(bad, Skipped)


async def test_a_router_that_hangs_is_given_up_after_the_deadline(scene: Scene) -> None:
    """One lost answer must not hold up the slots after it."""
    scene.router.gate = asyncio.Event()
    await scene.seed()
    async with scene.running(strategy(needs=ForecastNeeds(max_latency_ms=1))):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        (owed,) = await scene.settled(1)

    assert isinstance(owed, Skipped)
    assert owed.reason is SkipReason.TIMEOUT


async def test_an_answer_after_expiry_is_no_prediction(scene: Scene) -> None:
    """Nobody may act on it, so it is recorded as a timeout."""

    def stall(_: Requirements) -> None:
        scene.now_ns += 6 * SECOND_NS

    scene.router.before = stall
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        (owed,) = await scene.settled(1)

    assert isinstance(owed, Skipped)
    assert owed.reason is SkipReason.TIMEOUT


async def test_if_inference_falls_behind_the_latest_slot_wins(scene: Scene) -> None:
    """What waited behind a slow call is settled at once: the latest is asked for, the others are recorded."""
    scene.router.gate = asyncio.Event()
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        await scene.until(lambda: len(scene.router.calls) == 1)
        for bars in (2, 3, 4):
            await scene.tell(at(bars))
        await asyncio.sleep(0.01)
        scene.router.gate.set()
        owed = await scene.settled(4)

    assert scene.closes() == [1, 2, 3, 4]
    reasons = [one.reason for one in owed if isinstance(one, Skipped)]
    assert reasons == [SkipReason.BEHIND] * 2
    assert isinstance(owed[-1], Prediction)


async def test_a_slow_group_makes_no_other_wait(scene: Scene) -> None:
    """Strategies with other needs get their records while the slow call is still under way."""
    scene.router.gate = asyncio.Event()
    scene.router.gated = lambda requirements: requirements.profile == "patient"
    await scene.seed()
    async with scene.running(strategy("a"), strategy("b", needs=ForecastNeeds(routing_strategy="patient"))):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        (first,) = await scene.settled(1)
        scene.router.gate.set()
        await scene.settled(2)

    assert first.slot.strategy == "a@1"


async def test_without_a_full_window_slots_are_skipped_and_the_status_says_what_is_missing(
    scene: Scene,
) -> None:
    """A symbol without history is waited for, not refused."""
    async with scene.running(strategy()) as (worker, _):
        assert worker.status()["waiting"] == ["no history for EURUSD 10s"]
        while worker.status()["session"] is None:  # without history it listens from now on, whenever that is
            await scene.tell(START_MS)
            await asyncio.sleep(0.001)
        await scene.until(lambda: worker.ready)
        await scene.tick(at(0.5))
        await scene.tell(at(1))
        (owed,) = await scene.settled(1)

    assert isinstance(owed, Skipped)
    assert owed.reason is SkipReason.NO_WINDOW
    assert not worker.status()["waiting"]


async def test_history_that_is_seeded_after_the_start_is_found(scene: Scene) -> None:
    """The hub is up first; then the playback stores history and begins its session."""
    async with scene.running(strategy()) as (worker, _):
        assert worker.status()["waiting"]
        await scene.seed()
        await scene.tell(START_MS)
        await scene.tell(at(1))
        (owed,) = await scene.settled(1)

    assert isinstance(owed, Prediction)
    assert scene.closes() == [1]


async def test_a_new_session_goes_on_from_its_own_history(scene: Scene) -> None:
    """A second playback, later in market time: what lies between the two is not due."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        await scene.settled(1)
        await scene.seed(end_ms=at(1000))
        scene.sequences.clear()
        await scene.tell(at(1000), session="s2")
        await scene.tell(at(1001), session="s2")
        owed = await scene.settled(2)

    assert scene.closes() == [1, 1001]
    assert isinstance(owed[1], Prediction)


async def test_a_session_that_ended_is_not_listened_to_again(scene: Scene) -> None:
    """A late message of an old feeder closes nothing."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS, session="s1")
        await scene.tell(START_MS, session="s2")
        await scene.tell(at(50), session="s1")
        await scene.tell(at(1), session="s2")
        await scene.settled(1)

    assert scene.closes() == [1]


async def test_slots_that_the_log_holds_already_are_counted_and_not_repeated(scene: Scene) -> None:
    """The same market time played twice settles nothing twice."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tell(at(1))
        await scene.settled(1)
        await scene.seed()
        scene.sequences.clear()
        await scene.tell(START_MS, session="s2")
        for bars in (1, 2):
            await scene.tell(at(bars), session="s2")
        await scene.settled(2)

    assert scene.closes() == [1, 2]
    repeated = ("hub_slots_total", (("outcome", "repeated"), ("strategy", "alpha@1")))
    assert scene.meter.values[repeated] == 1


async def test_stale_market_data_is_not_forecast_on(scene: Scene) -> None:
    """After ten minutes of market time without a tick the slots say so."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        for bars in range(1, 62):
            await scene.tell(at(bars))
            await scene.settled(bars)

    reasons = [one.reason if isinstance(one, Skipped) else None for one in scene.owed()]
    assert reasons == [None] * 59 + [SkipReason.STALE_DATA] * 2


async def test_lost_repeated_and_impossible_ticks_are_seen_and_counted(scene: Scene) -> None:
    """A gap shows at the next tick, or at the clock if it was the last; no tick counts twice or backwards."""
    await scene.seed()
    async with scene.running(strategy()) as (worker, _):
        await scene.tell(START_MS)
        await scene.tick(at(0.2))
        scene.sequences["EURUSD"] += 2
        await scene.tick(at(0.5))
        await scene.tick(at(0.4))
        await scene.feeder.publish_tick(scene.market.messages[-1])  # type: ignore[arg-type]  # a tick again
        scene.sequences["EURUSD"] += 1
        await scene.tell(at(1))
        await scene.settled(1)
        await scene.until(lambda: stored(scene)[-1].close_ms == at(1))
        status = worker.status()["symbols"]["EURUSD"]

    assert (status["ticks_missing"], status["ticks_refused"], status["ticks_repeated"]) == (3, 1, 1)
    assert stored(scene)[-1].ticks == 2
    counts = {
        dict(labels)["outcome"]: n
        for (name, labels), n in scene.meter.values.items()
        if name == "hub_ticks_total"
    }
    assert (counts["in_order"], counts["after_gap"], counts["refused"], counts["lost"]) == (1, 1, 1, 1)


async def test_closed_bars_are_stored_for_the_next_owner(scene: Scene) -> None:
    """In order, each once, empty ones included."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tick(at(0.5), 1.3)
        for bars in (1, 2):
            await scene.tell(at(bars))
        await scene.settled(2)
        await scene.until(lambda: stored(scene)[-1].close_ms == at(2))

    kept = stored(scene)[-3:]
    assert [one.close_ms for one in kept] == [START_MS, at(1), at(2)]
    assert [one.ticks for one in kept[1:]] == [1, 0]


async def test_the_window_ends_with_the_bar_that_made_it_due(scene: Scene) -> None:
    """The last return is that of the closing bar: nothing later, nothing earlier."""
    await scene.seed()
    async with scene.running(strategy()):
        await scene.tell(START_MS)
        await scene.tick(at(0.5), 2.0)
        await scene.tell(at(1))
        await scene.settled(1)

    ((_, window),) = scene.router.calls
    assert window[0, -1] > 0.5
    assert abs(window[0, :-1]).max() < 0.01
