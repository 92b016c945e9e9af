"""The fan-out worker on the memory bus: what each user finds in the log."""

from __future__ import annotations

import asyncio
from typing import Any

from messaging.topics import SIGNAL_STATE, SIGNALS, SUBSCRIPTIONS
from models.events import BEAT_KEY, CLAIM_KEY, UNDELIVERED_KEY
from models.signal import Signal
from models.subscription import Subscription
from signals.encoding import check_signal
from tests.support.virtual_loop import later, until
from tests.unit.fanout.stage import SOURCE, Stage, close, home, play
from tests.unit.signals.records import NOW_NS, prediction, skipped, slot, subscription

FOR_EVER = NOW_NS * 2
PEERS = [name for name in (f"user-{n}" for n in range(40)) if home(name) == home("user-1")]


def follower(user: str = "user-1", account: str = "main", **settings: Any) -> Subscription:
    """A subscription that does not run out."""
    return subscription(user, account, **{"entitled_until_ns": FOR_EVER, **settings})


def test_a_prediction_becomes_one_valid_signal_per_account() -> None:
    """The body satisfies the contract, names its claim and its source, and counts on the user's sequence."""

    async def story(stage: Stage) -> list[dict[str, Any]]:
        for account in ("a", "b"):
            stage.subscribe(follower(account=account))
        await stage.worker("w").ready()
        stage.predict(prediction())
        await until(lambda: stage.signals("user-1"))
        return stage.signals("user-1")

    found = play(story)

    assert [(s["account_id"], s["sequence"], s["part"], s["epoch"]) for s in found] == [
        ("a", 1, [1, 1], 0),
        ("b", 2, [1, 1], 0),
    ]
    assert found[0]["source"] == {"partition": SOURCE, "offset": 1, "epoch": 0}
    assert [check_signal(Signal.model_validate(signal)) for signal in found] == [[], []]


def test_a_skipped_slot_becomes_an_abstain_that_says_why() -> None:
    """A gap is visible to the user, and consumes a sequence like any delivery."""

    async def story(stage: Stage) -> dict[str, Any]:
        stage.subscribe(follower())
        await stage.worker("w").ready()
        stage.predict(skipped())
        await until(lambda: stage.signals("user-1"))
        return stage.signals("user-1")[0]

    signal = play(story)

    assert (signal["kind"], signal["direction"], signal["sequence"]) == ("abstain", 0, 1)
    assert "refused" in signal["reason"]


def test_who_is_not_subscribed_or_not_entitled_receives_nothing() -> None:
    """The end of a subscription and of an entitlement count at once."""

    async def story(stage: Stage) -> list[bool]:
        ended, lapsed, there = follower(PEERS[0]), follower(PEERS[1], entitled_until_ns=1), follower(PEERS[2])
        for one in (ended, lapsed, there):
            stage.subscribe(one)
        await stage.worker("w").ready()
        stage.unsubscribe(ended)
        await later(1)
        stage.predict(prediction())
        await until(lambda: stage.signals(there.user_id))
        return [bool(stage.signals(one.user_id)) for one in (ended, lapsed, there)]

    assert play(story) == [False, False, True]


def test_a_subscription_made_while_the_worker_runs_counts_within_a_second() -> None:
    """The book is followed, not only read once."""

    async def story(stage: Stage) -> int:
        await stage.worker("w").ready()
        stage.subscribe(follower())
        await later(1)
        stage.predict(prediction())
        await until(lambda: stage.signals("user-1"))
        return int(stage.signals("user-1")[0]["subscription_offset"])

    assert play(story) == 0


def test_what_expired_before_there_was_an_owner_is_recorded_as_undelivered() -> None:
    """With the reason, the source and how many it was due to; nobody gets a late signal."""

    async def story(stage: Stage) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        stage.subscribe(follower())
        await later(2)
        stage.predict(prediction(slot(close(0))), ttl_s=1)
        await later(2)
        stage.predict(prediction(slot(close(1))), ttl_s=60)
        await stage.worker("w").ready()
        await until(lambda: stage.signals("user-1"))
        return stage.controls("user-1", UNDELIVERED_KEY), stage.signals("user-1")

    undelivered, delivered = play(story)

    assert [(u["reason"], u["bar_close_ms"], u["source_offset"], u["count"]) for u in undelivered] == [
        ("no_owner", close(0), 1, 1)
    ]
    assert [(s["bar_close_ms"], s["sequence"]) for s in delivered] == [(close(1), 1)]


def test_nobody_subscribed_leaves_no_record_but_moves_the_cursor() -> None:
    """The beat says how far an idle partition is."""

    async def story(stage: Stage) -> dict[str, Any]:
        await stage.worker("w").ready()
        offset = stage.predict(prediction())
        await until(
            lambda: offset + 1 in [b["cursor"][str(SOURCE)] for b in stage.controls("user-1", BEAT_KEY)]
        )
        return {record.key.decode(): 1 for record in stage.records("user-1")}

    assert play(story).keys() == {"~claim", "~beat"}


def test_a_void_prediction_reaches_nobody() -> None:
    """A record of a forecaster that had lost its partition does not count."""

    async def story(stage: Stage) -> list[int]:
        stage.subscribe(follower())
        worker = await stage.worker("w").ready()
        stage.predict(prediction(slot(close(0)), epoch=-1))
        stage.predict(prediction(slot(close(1))))
        await until(lambda: stage.signals("user-1"))
        assert worker.worker.status()["counters"]["predictions_accepted"] == 1
        return [signal["bar_close_ms"] for signal in stage.signals("user-1")]

    assert play(story) == [close(1)]


def test_what_is_due_together_goes_in_one_append() -> None:
    """Three slots cost one request, in the order of their predictions, each under the next sequence."""

    async def story(stage: Stage) -> tuple[list[tuple[int, int]], float]:
        stage.subscribe(follower())
        worker = await stage.worker("w", beat_s=60.0).ready()
        appended = ("hub_append_total", (("outcome", "ok"), ("topic", SIGNALS.name)))
        before = worker.meter.values[appended]
        for number in range(3):
            stage.predict(prediction(slot(close(number))))
        await until(lambda: len(stage.signals("user-1")) == 3)
        await later(1)
        found = [(signal["sequence"], signal["bar_close_ms"]) for signal in stage.signals("user-1")]
        return found, worker.meter.values[appended] - before

    assert play(story) == ([(1, close(0)), (2, close(1)), (3, close(2))], 1.0)


def test_a_second_record_of_a_slot_is_not_delivered_again() -> None:
    """The first valid prediction of a slot wins."""

    async def story(stage: Stage) -> list[int]:
        stage.subscribe(follower())
        await stage.worker("w").ready()
        for number in (0, 0, 1):
            stage.predict(prediction(slot(close(number))))
        await until(lambda: len(stage.signals("user-1")) > 1)
        return [signal["bar_close_ms"] for signal in stage.signals("user-1")]

    assert play(story) == [close(0), close(1)]


def test_an_unknown_strategy_is_passed_over() -> None:
    """Its slots reach nobody, and those behind it are not held up."""

    async def story(stage: Stage) -> list[str]:
        stage.subscribe(follower())
        await stage.worker("w").ready()
        stage.predict(prediction(slot(strategy="unheard-of@1")))
        stage.predict(prediction())
        await until(lambda: stage.signals("user-1"))
        return [signal["strategy"] for signal in stage.signals("user-1")]

    assert play(story) == ["alpha@1"]


def test_another_worker_goes_on_where_a_killed_one_stopped() -> None:
    """Sequences go on, the slot in between is delivered late but in time, nothing comes twice."""

    async def story(stage: Stage) -> list[tuple[int, int]]:
        stage.subscribe(follower())
        first = await stage.worker("a").ready()
        stage.predict(prediction(slot(close(0))))
        await until(lambda: stage.signals("user-1"))
        first.process.crash()
        stage.predict(prediction(slot(close(1))), ttl_s=30)
        stage.worker("b")
        await until(lambda: len(stage.signals("user-1")) == 2)
        stage.predict(prediction(slot(close(2))))
        await until(lambda: len(stage.signals("user-1")) == 3)
        return [(signal["sequence"], signal["bar_close_ms"]) for signal in stage.signals("user-1")]

    assert play(story) == [(1, close(0)), (2, close(1)), (3, close(2))]


def test_a_slot_cut_into_parts_is_finished_by_the_next_owner() -> None:
    """Whoever has it is not sent it again; the rest get it as of the same subscriptions."""

    async def story(stage: Stage) -> tuple[list[list[int]], set[int], list[str]]:
        stage.log.max_batch_bytes = 3_500
        for user in PEERS[:6]:
            stage.subscribe(follower(user))
        first = await stage.worker("a").ready()
        stage.predict(prediction(), ttl_s=60)
        await until(lambda: any(stage.signals(user) for user in PEERS[:6]))
        first.process.crash()
        stage.subscribe(follower(PEERS[6]))
        stage.worker("b")
        await until(lambda: all(stage.signals(user) for user in PEERS[:6]))
        await later(5)
        found = [signal for user in PEERS[:7] for signal in stage.signals(user)]
        parts = sorted({tuple(signal["part"]) for signal in found})
        as_of = {signal["subscription_offset"] for signal in found}
        return [list(part) for part in parts], as_of, sorted(signal["user_id"] for signal in found)

    parts, as_of, users = play(story)

    assert parts == [[1, 3], [2, 3], [3, 3]]
    assert as_of == {5}
    assert users == sorted(PEERS[:6])


def test_a_slot_from_before_a_take_over_goes_to_those_who_were_subscribed_then() -> None:
    """Neither a later subscriber nor a later farewell changes who was owed it."""

    async def story(stage: Stage) -> list[str]:
        leaving, coming = follower(PEERS[0]), follower(PEERS[1])
        stage.subscribe(leaving)
        await later(2)
        stage.predict(prediction(), ttl_s=60)
        await later(2)
        stage.unsubscribe(leaving)
        stage.subscribe(coming)
        await stage.worker("w").ready()
        await later(3)
        return [s["user_id"] for one in (leaving, coming) for s in stage.signals(one.user_id)]

    assert play(story) == [PEERS[0]]


def test_a_signal_acknowledged_after_its_expiry_is_recorded_as_undelivered_too() -> None:
    """Its readers may have dropped it; for those who had it in time it stands."""

    async def story(stage: Stage) -> list[str]:
        stage.subscribe(follower())
        worker = await stage.worker("w").ready()
        stage.predict(prediction(), ttl_s=1.0)
        worker.process.freeze()
        await later(2)
        worker.process.thaw()
        await until(lambda: stage.controls("user-1", UNDELIVERED_KEY))
        return [str(u["reason"]) for u in stage.controls("user-1", UNDELIVERED_KEY)]

    assert play(story) == ["expired"]


def test_the_next_owner_records_what_landed_late() -> None:
    """The owner that sent it did not live to see the acknowledgement."""

    async def story(stage: Stage) -> tuple[int, list[str]]:
        stage.subscribe(follower())
        stage.log.faults.delay_s = (0.5, 0.5)
        worker = await stage.worker("a").ready()
        sent = len(stage.records("user-1"))
        stage.predict(prediction(), ttl_s=1.2)
        await until(lambda: len(stage.records("user-1")) > sent and stage.signals("user-1"), within_s=30)
        worker.process.crash()
        stage.worker("b")
        await until(lambda: stage.controls("user-1", UNDELIVERED_KEY), within_s=60)
        reasons = [str(u["reason"]) for u in stage.controls("user-1", UNDELIVERED_KEY)]
        return len(stage.signals("user-1")), reasons

    assert play(story) == (1, ["expired"])


def test_a_checkpoint_follows_each_restore_and_then_every_two_seconds() -> None:
    """It holds the claims, the sequences and the cursor that a restore needs."""

    async def story(stage: Stage) -> list[dict[str, Any]]:
        stage.subscribe(follower())
        await stage.worker("w").ready()
        stage.predict(prediction())
        await later(6)
        return stage.checkpoints("user-1")

    found = play(story)

    assert 3 <= len(found) <= 5
    assert (found[0]["position"], found[0]["claims"], found[0]["sequences"]) == (1, [0], {})
    assert found[-1]["sequences"] == {"user-1": 1}
    assert found[-1]["cursor"][str(SOURCE)] == 2


def test_a_restore_from_a_checkpoint_equals_one_from_the_whole_log() -> None:
    """The checkpoint saves time and changes nothing."""

    async def story(stage: Stage) -> list[tuple[int, int]]:
        stage.subscribe(follower())
        first = await stage.worker("a").ready()
        for number in range(4):
            stage.predict(prediction(slot(close(number))))
            await later(1)
        first.process.crash()
        if stage.checkpoints("user-1")[-1]["position"] < 3:
            raise AssertionError("no checkpoint was taken")
        stage.log.partition(SIGNAL_STATE.name, home("user-1")).compact()
        stage.log.partition(SUBSCRIPTIONS.name, home("user-1")).compact()
        stage.worker("b")
        await until(lambda: stage.controls("user-1", CLAIM_KEY)[1:])
        stage.predict(prediction(slot(close(9))))
        await until(lambda: len(stage.signals("user-1")) == 5)
        return [(signal["sequence"], signal["bar_close_ms"]) for signal in stage.signals("user-1")]

    assert play(story)[-2:] == [(4, close(3)), (5, close(9))]


def test_a_stopped_worker_hands_over_and_ends() -> None:
    """It leaves the group at once and publishes until the next owner's claim."""

    async def story(stage: Stage) -> tuple[bool, list[int]]:
        stage.subscribe(follower())
        first = await stage.worker("a").ready()
        second = stage.worker("b")
        stopping = asyncio.create_task(first.worker.stop())
        for number in range(4):
            stage.predict(prediction(slot(close(number))))
            await later(0.5)
        await stopping
        await asyncio.gather(first.running, return_exceptions=True)
        await until(lambda: second.worker.ready and len(stage.signals("user-1")) >= 4)
        return first.running.done(), [signal["sequence"] for signal in stage.signals("user-1")]

    ended, sequences = play(story)

    assert ended
    assert sorted(set(sequences)) == [1, 2, 3, 4]


def test_status_says_what_is_owned_and_how_fast_it_was() -> None:
    """The demo's table and the health check read it."""

    async def story(stage: Stage) -> dict[str, Any]:
        stage.subscribe(follower())
        worker = await stage.worker("w").ready()
        stage.predict(prediction())
        await until(lambda: stage.signals("user-1"))
        await later(1)
        return worker.worker.status()

    status = play(story)

    assert (status["ready"], status["live"], status["lag"], status["down_s"]) == (True, [0, 1], 0, 0.0)
    assert 0 < status["tick_to_ack_ms"]["p50"] < 20
    assert status["counters"]["signals"] == 1
