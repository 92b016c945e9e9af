"""Limits and halts in the worker: obeyed at once, and by the next owner too."""

from __future__ import annotations

from typing import Any

from messaging.subjects import HALT_SUBJECT
from messaging.topics import CONTROL
from models.halt import HaltScope
from models.signal import Signal
from models.subscription import RiskSettings, Subscription
from signals.encoding import check_signal, encode
from tests.support.virtual_loop import later, until
from tests.unit.fanout.stage import Stage, close, home, play
from tests.unit.signals.records import NOW_NS, prediction, slot, subscription

UP, DOWN = 1e-5, -1e-5
"""Medians that become targets of +0.2 and -0.2."""


def follower(user: str = "user-1", account: str = "main", **risk: Any) -> Subscription:
    """A subscription with these limits."""
    one = subscription(user, account, entitled_until_ns=NOW_NS * 2)
    return one.model_copy(update={"risk": RiskSettings(**risk)})


async def told(stage: Stage, number: int, q50: float = UP, *, user: str = "user-1") -> dict[str, Any]:
    """The user's signal of slot `number`."""
    before = len(stage.signals(user))
    stage.predict(prediction(slot(close(number)), q50=q50))
    await until(lambda: len(stage.signals(user)) > before)
    return stage.signals(user)[-1]


def words(signal: dict[str, Any]) -> tuple[str, list[str]]:
    """What it asks for, and what took the rest away."""
    assert check_signal(Signal.model_validate(signal)) == []
    return signal["kind"], signal["risk"]["limits_hit"]


def test_the_other_side_is_closed_first_whoever_owns_the_user() -> None:
    """The next owner knows from the log what the account was asked to hold, with a checkpoint or without."""

    async def story(stage: Stage) -> list[tuple[str, list[str]]]:
        stage.subscribe(follower())
        first = await stage.worker("first").ready()
        found = [words(await told(stage, 1, UP))]
        await until(lambda: any(one["held"] for one in stage.checkpoints("user-1")))
        first.process.crash()
        stage.log.group("hub-fanout", "user.signals").rebalance()
        second = await stage.worker("second").ready()
        found.append(words(await told(stage, 2, DOWN)))
        second.process.crash()
        await stage.worker("third").ready()
        found += [words(await told(stage, 3, DOWN)), words(await told(stage, 4, DOWN))]
        return found

    assert play(story) == [("adjust", []), ("close", ["close_first"]), ("adjust", []), ("adjust", [])]


def test_a_limit_per_minute_outlives_its_owner() -> None:
    """The next owner counts what the last one has asked."""

    async def story(stage: Stage) -> list[tuple[str, list[str]]]:
        stage.subscribe(follower(max_signals_per_minute=2))
        first = await stage.worker("first").ready()
        found = [words(await told(stage, 1)), words(await told(stage, 2))]
        first.process.crash()
        await stage.worker("second").ready()
        found.append(words(await told(stage, 3)))
        await later(60)
        return [*found, words(await told(stage, 4))]

    assert play(story) == [
        ("adjust", []),
        ("adjust", []),
        ("abstain", ["max_signals_per_minute"]),
        ("adjust", []),
    ]


def test_slots_that_travel_together_count_one_after_the_other() -> None:
    """Two slots in one append are not both the first of a minute, nor do they turn a position round."""

    async def story(stage: Stage) -> list[tuple[str, list[str]]]:
        stage.subscribe(follower())
        stage.subscribe(follower(account="slow", max_signals_per_minute=1))
        stage.log.halt()
        worker = stage.worker("w")
        for number, q50 in enumerate((UP, DOWN, DOWN), start=1):
            stage.predict(prediction(slot(close(number)), q50=q50), ttl_s=30)
        stage.log.resume()
        await worker.ready()
        await until(lambda: len(stage.signals("user-1")) == 6)
        return [words(signal) for signal in stage.signals("user-1")]

    full = ("abstain", ["max_signals_per_minute"])
    assert play(story) == [
        ("adjust", []),
        ("adjust", []),
        ("close", ["close_first"]),
        full,
        ("adjust", []),
        full,
    ]


def test_a_halt_in_the_log_is_obeyed_within_a_tenth_of_a_second() -> None:
    """And a resumption; those whom it does not cover notice neither."""

    async def story(stage: Stage) -> list[tuple[str, list[str]]]:
        other = next(name for name in (f"other-{n}" for n in range(40)) if home(name) == home("user-1"))
        stage.subscribe(follower())
        stage.subscribe(follower(other))
        await stage.worker("w").ready()
        stage.halt(HaltScope.USER, "user-1")
        await later(0.1)
        halted = await told(stage, 1)
        others = stage.signals(other)[-1]
        stage.resume(HaltScope.USER, "user-1")
        await later(0.1)
        return [words(halted), words(others), words(await told(stage, 2))]

    assert play(story) == [("abstain", ["halt:user"]), ("adjust", []), ("adjust", [])]


def test_a_halt_that_was_only_told_is_obeyed_too() -> None:
    """While the log of halts stands still."""

    async def story(stage: Stage) -> tuple[str, list[str]]:
        stage.subscribe(follower())
        await stage.worker("w").ready()
        halt = stage.halt(HaltScope.ALL).model_copy(update={"reason": "told"})
        stage.resume(HaltScope.ALL)
        await later(0.5)
        stage.market.tell(HALT_SUBJECT, encode(halt))
        stage.market.tell(HALT_SUBJECT, b"no halt")
        await later(0.1)
        return words(await told(stage, 1))

    assert play(story) == ("abstain", ["halt:all"])


def test_nothing_is_published_before_the_halts_are_read() -> None:
    """A new owner that cannot read them waits; what it owes is recorded when it expires."""

    async def story(stage: Stage) -> tuple[int, tuple[str, list[str]]]:
        stage.subscribe(follower())
        stage.halt(HaltScope.STRATEGY, "alpha@1")
        stage.log.partition(CONTROL.name, 0).leaderless = True
        stage.worker("w")
        stage.predict(prediction(slot(close(1))))
        await later(3)
        before = len(stage.signals("user-1"))
        stage.log.partition(CONTROL.name, 0).leaderless = False
        await until(lambda: stage.signals("user-1"))
        return before, words(stage.signals("user-1")[0])

    assert play(story) == (0, ("abstain", ["halt:strategy"]))


def test_halts_that_can_no_longer_be_read_stop_everything() -> None:
    """A second of silence of their log is enough; then slots are delivered, and ask for nothing."""

    async def story(stage: Stage) -> list[tuple[str, list[str]]]:
        stage.subscribe(follower())
        await stage.worker("w").ready()
        stage.log.partition(CONTROL.name, 0).leaderless = True
        await later(2)
        unknown = await told(stage, 1)
        stage.log.partition(CONTROL.name, 0).leaderless = False
        await later(2)
        return [words(unknown), words(await told(stage, 2))]

    assert play(story) == [("abstain", ["halt:unknown"]), ("adjust", [])]


def test_a_worker_that_was_frozen_asks_before_it_goes_on() -> None:
    """It slept through a halt and must not publish on what it knew."""

    async def story(stage: Stage) -> list[tuple[str, list[str]]]:
        stage.subscribe(follower())
        worker = await stage.worker("w").ready()
        worker.process.freeze()
        await later(3)
        stage.halt(HaltScope.ALL)
        stage.predict(prediction(slot(close(1))), ttl_s=30)
        worker.process.thaw()
        await until(lambda: stage.signals("user-1"))
        return [words(signal) for signal in stage.signals("user-1")]

    assert play(story) == [("abstain", ["halt:all"])]


def test_a_halt_between_two_appends_of_a_slot_stops_the_rest() -> None:
    """A slot for many users takes several appends; each is built on the halts of its moment."""

    async def story(stage: Stage) -> list[str]:
        stage.log.max_batch_bytes = 8_000
        users = [name for name in (f"u-{n}" for n in range(60)) if home(name) == home("user-1")][:20]
        for user in users:
            stage.subscribe(follower(user))
        stage.log.faults.delay_s = (0.3, 0.3)
        await stage.worker("w").ready()
        stage.predict(prediction(), ttl_s=60)
        await until(lambda: any(stage.signals(user) for user in users))
        stage.halt(HaltScope.ALL)
        await until(lambda: all(stage.signals(user) for user in users))
        return [stage.signals(user)[0]["kind"] for user in sorted(users)]

    kinds = play(story)
    asked = kinds.count("adjust")

    assert kinds == ["adjust"] * asked + ["abstain"] * (len(kinds) - asked)
    assert 0 < asked < len(kinds)
