"""After a kill: the new owner misses nothing silently, repeats nothing, and stands on the same market."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from messaging.memory import MemoryBus
from messaging.ports import Record
from messaging.topics import PREDICTIONS, create_topics, partition_of
from models.events import CLAIM_KEY, Claim
from models.prediction import Prediction, Skipped, SkipReason
from models.strategy import ForecastNeeds
from signals.encoding import encode
from tests.unit.forecaster.scene import BAR_MS, SECOND_NS, START_MS, Scene, bar, stored, strategy

PARTITION = partition_of(b"EURUSD", PREDICTIONS.partitions)


@pytest.fixture
async def scene() -> Scene:
    """Servers with topics and history, without a worker."""
    scene = Scene()
    scene.log.session_s = 0.05
    await create_topics(MemoryBus(scene.log, "admin"), 1)
    await scene.seed()
    return scene


def at(bars: float) -> int:
    """Market time so many bars after the start."""
    return START_MS + int(bars * BAR_MS)


async def play(scene: Scene, *bars: int) -> None:
    """Send a tick in each bar and the clock at its close, one second of wall time apart."""
    for number in bars:
        await scene.tick(at(number - 0.5), 1.1 + number * 1e-4)
        scene.now_ns += SECOND_NS
        await scene.tell(at(number))


async def test_a_new_owner_predicts_what_has_not_expired_and_records_the_rest(scene: Scene) -> None:
    """Of nine slots missed, those younger than five seconds are predicted, in a fresh deadline; the others
    are recorded.
    """
    await scene.tell(START_MS)
    async with scene.running(strategy(), name="first"):
        await play(scene, 1, 2, 3)
        await scene.settled(3)
    await play(scene, *range(4, 13))
    scene.now_ns += 2 * SECOND_NS
    async with scene.running(strategy(), name="second"):
        owed = await scene.settled(12)
        assert scene.router.calls[-1][0].deadline_ns == scene.now_ns + SECOND_NS // 2
        await play(scene, 13)
        await scene.settled(13)

    assert scene.closes() == list(range(1, 14))
    missed = owed[3:]
    skipped = [one for one in missed if isinstance(one, Skipped)]
    assert [one.reason for one in skipped] == [SkipReason.TAKE_OVER] * 6
    assert all(isinstance(one, Prediction) for one in missed[6:])


async def test_a_new_owner_makes_the_windows_its_predecessor_would_have_made(scene: Scene) -> None:
    """Windows rebuilt from stored bars and kept ticks are equal, to the last bit."""
    await scene.tell(START_MS)
    async with scene.running(strategy(), name="first"):
        await play(scene, 1, 2)
        await scene.settled(2)
    await play(scene, 3, 4)
    async with scene.running(strategy(), name="second"):
        await scene.settled(4)
    rebuilt = scene.router.calls[-1][1][-1]

    alone = Scene()
    await alone.seed()
    await alone.tell(START_MS)
    async with alone.running(strategy()):
        await play(alone, 1, 2, 3, 4)
        await alone.settled(4)
    assert np.array_equal(rebuilt, alone.router.calls[-1][1][-1])


async def test_a_kill_before_the_first_prediction_loses_no_slot(scene: Scene) -> None:
    """The log knows nothing of the series; the feed still knows where the session began."""
    await scene.tell(START_MS)
    await play(scene, 1, 2)
    async with scene.running(strategy(), name="second"):
        await scene.settled(2)

    assert scene.closes() == [1, 2]


async def test_bars_that_outran_the_log_are_still_settled(scene: Scene) -> None:
    """The predecessor stored two bars but died before their records were acknowledged."""
    await scene.tell(START_MS)
    await play(scene, 1, 2)
    for number in (1, 2):
        await scene.feeder.put_bar(bar("EURUSD", at(number), 1.1 + number * 1e-4), after=None)
    async with scene.running(strategy()):
        owed = await scene.settled(2)

    assert scene.closes() == [1, 2]
    assert all(isinstance(one, Prediction) for one in owed)


async def test_a_new_owner_does_not_forecast_again_what_the_log_holds(scene: Scene) -> None:
    """The same market time is played to a worker that was not there the first time."""
    await scene.tell(START_MS)
    async with scene.running(strategy(), name="first"):
        await play(scene, 1)
        await scene.settled(1)
    await scene.seed()
    scene.sequences.clear()
    async with scene.running(strategy(), name="second"):
        await scene.tell(START_MS, session="s2")
        for number in (1, 2):
            await scene.tell(at(number), session="s2")
        await scene.settled(2)

    records = scene.log.partition(PREDICTIONS.name, PARTITION).records
    assert [record.key for record in records] == [b"~claim", b"EURUSD", b"~claim", b"EURUSD"]
    assert scene.closes() == [1, 2]


async def test_a_series_that_was_behind_the_others_is_resumed_from_where_it_was(scene: Scene) -> None:
    """The predecessor died while one of two strategies still waited for its answer."""
    both = (strategy("a"), strategy("b", needs=ForecastNeeds(routing_strategy="patient")))
    await scene.tell(START_MS)
    async with scene.running(*both, name="first"):
        await play(scene, 1)
        await scene.settled(2)
        scene.router.gate = asyncio.Event()
        scene.router.gated = lambda requirements: requirements.profile == "patient"
        await play(scene, 2, 3)
        await scene.settled(4)
    scene.router.gate.set()
    async with scene.running(*both, name="second"):
        await scene.settled(6)

    series = {
        name: [one.slot.bar_close_ms for one in scene.owed() if one.slot.strategy == name]
        for name in ("a@1", "b@1")
    }
    assert series["a@1"] == series["b@1"] == [at(1), at(2), at(3)]


async def test_a_frozen_owner_that_thaws_changes_nothing(scene: Scene) -> None:
    """Its successor's records are the valid ones, each slot once; its own late ones are void."""
    await scene.tell(START_MS)
    async with scene.running(strategy(), name="first") as (_, bus):
        await play(scene, 1)
        await scene.settled(1)
        bus.process.freeze()
        async with scene.running(strategy(), name="second"):
            await play(scene, 2, 3)
            await scene.settled(3)
            bus.process.thaw()
            await play(scene, 4, 5)
            await scene.settled(5)

    assert scene.closes() == [1, 2, 3, 4, 5]


async def test_a_foreign_claim_ends_the_lease_and_the_slot_is_not_lost(scene: Scene) -> None:
    """Whoever still holds the partition claims again and settles what became void."""
    await scene.tell(START_MS)
    async with scene.running(strategy()) as (worker, _):
        await play(scene, 1)
        await scene.settled(1)
        producer = await MemoryBus(scene.log, "intruder").producer("intruder")
        claim = Record(CLAIM_KEY, encode(Claim(owner="intruder", nonce="n", claimed_ns=0)))
        await producer.append(PREDICTIONS.name, PARTITION, [claim], timeout_s=1)
        await play(scene, 2, 3)
        await scene.settled(3)

    assert scene.closes() == [1, 2, 3]
    assert worker.status()["lanes"] == {} or worker.status()["lanes"][PARTITION]["epoch"] > 0


async def test_symbols_move_to_a_worker_that_joins(scene: Scene) -> None:
    """Who lost a symbol stops following it, and the slots go on without a hole."""
    await scene.tell(START_MS)
    async with scene.running(strategy(), name="first") as (first, _):
        await play(scene, 1)
        await scene.settled(1)
        async with scene.running(strategy(), name="second") as (second, _):
            await scene.until(lambda: bool(second.status()["symbols"]))
            await play(scene, 2, 3)
            await scene.settled(3)
            assert not first.status()["symbols"]

    assert scene.closes() == [1, 2, 3]


async def test_records_that_do_not_fit_one_batch_go_in_several(scene: Scene) -> None:
    """A batch that is too large would be refused for ever."""
    scene.log.max_batch_bytes = 2500
    await scene.tell(START_MS)
    async with scene.running(*(strategy(name) for name in "abcdef")):
        await play(scene, 1)
        await scene.settled(6)

    assert scene.closes() == [1] * 6


@pytest.mark.parametrize("fault", ["lose_ack", "refuse", "lose"])
async def test_no_slot_is_lost_or_doubled_when_appends_fail(scene: Scene, fault: str) -> None:
    """An unknown or refused append ends in a restore that finds out what is in the log."""
    await scene.tell(START_MS)
    async with scene.running(strategy()):
        await play(scene, 1)
        await scene.settled(1)
        setattr(scene.log.faults, fault, 1.0)
        await play(scene, 2)
        await asyncio.sleep(0.05)
        setattr(scene.log.faults, fault, 0.0)
        await play(scene, 3)
        await scene.settled(3)

    assert scene.closes() == [1, 2, 3]


async def test_a_bar_of_somebody_else_has_the_claim_judged_by_the_log(scene: Scene) -> None:
    """The bar that is stored wins, a beat asks the log, and the owner goes on."""
    await scene.tell(START_MS)
    async with scene.running(strategy()):
        await play(scene, 1)
        await scene.settled(1)
        await scene.until(lambda: stored(scene)[-1].close_ms == at(1))
        foreign = replace(stored(scene)[-1], close_ms=at(2))
        await scene.feeder.put_bar(foreign, after=None)
        await play(scene, 2, 3)
        await scene.settled(3)
        await scene.until(lambda: stored(scene)[-1].close_ms == at(3))

    assert [one.close_ms for one in stored(scene)[-3:]] == [at(1), at(2), at(3)]
    assert stored(scene)[-2] == foreign
    keys = [record.key for record in scene.log.partition(PREDICTIONS.name, PARTITION).records]
    assert keys.count(b"~beat") == 1


async def test_a_feed_that_was_away_is_followed_from_where_it_was_left(scene: Scene) -> None:
    """What was sent meanwhile is read when it answers again."""
    await scene.tell(START_MS)
    async with scene.running(strategy()):
        await play(scene, 1)
        await scene.settled(1)
        scene.market.stop()
        scene.market.start()
        await play(scene, 2)
        await scene.settled(2)

    assert scene.closes() == [1, 2]


async def test_where_ticks_are_lost_no_bars_are_invented(scene: Scene) -> None:
    """The feed resumes long after the stored bars end: slots are skipped until a window is whole again."""
    await play(scene, 5)
    async with scene.running(strategy()):
        await play(scene, 6, 7)
        owed = await scene.settled(1)

    assert scene.closes()[0] >= 6
    assert {one.reason for one in owed if isinstance(one, Skipped)} == {SkipReason.NO_WINDOW}
