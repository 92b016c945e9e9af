"""A service that reads: once each, in order, before expiry; through crashes, rebalances and bad luck."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import orjson
import pytest

from deployments.reader import GapKind, MemoryEffects, Settled
from messaging.topics import SIGNALS, partition_of
from models.errors import TopicMismatch
from models.signal import Signal
from signals.reader import Verdict
from tests.support.virtual_loop import run_virtual
from tests.unit.reader.scene import (
    AWAY,
    HOME,
    NEIGHBOURS,
    USER,
    AwayStore,
    Scene,
    headers_of,
    repeating,
    skipping,
)
from tests.unit.signals.records import TTL_NS

TTL_S = TTL_NS / 1e9
OTHER = NEIGHBOURS[0]


def virtual(test: Coroutine[Any, Any, None]) -> None:
    """Run on virtual time, within an hour of it."""

    async def bounded() -> None:
        async with asyncio.timeout(3600):
            await test

    run_virtual(bounded())


def test_every_users_signals_have_their_effect_in_order() -> None:
    """Two users, three slots; what others say in between has none."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        async with scene.reader() as reading:
            for slot in range(3):
                scene.signal(USER, slot=slot)
                scene.signal(OTHER, slot=slot)
                scene.beat()
            await asyncio.sleep(1)
            health = reading.reader.health()

        assert scene.done == [(user, n, "acted") for n in (1, 2, 3) for user in (USER, OTHER)]
        assert health.verdicts == {Verdict.ACCEPTED: 6, Verdict.CONTROL: 4}
        assert health.partitions == {HOME}
        assert health.time_left_s == pytest.approx(TTL_S, abs=0.1)

    virtual(run())


def test_only_the_services_own_users_are_acted_for() -> None:
    """The others of the partition are read, and that is all."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.signal(USER)
        scene.signal(OTHER)
        async with scene.reader(users={OTHER}):
            await asyncio.sleep(1)

        assert scene.done == [(OTHER, 1, "acted")]

    virtual(run())


def test_a_zombies_signals_have_no_effect() -> None:
    """What is behind a claim under an older epoch does not exist; neither does it take a number."""

    async def run() -> None:
        scene = Scene()
        old = scene.claim()
        scene.signal()
        scene.claim()
        scene.land(USER.encode(), scene.raw(slot=1, sequence=2, epoch=old))
        scene.signal(slot=1)
        async with scene.reader() as reading:
            await asyncio.sleep(1)

        assert scene.done == [(USER, 1, "acted"), (USER, 2, "acted")]
        assert reading.reader.health().verdicts[Verdict.VOID] == 1
        assert not reading.gaps

    virtual(run())


def test_the_claims_before_the_start_are_known() -> None:
    """A reader that begins at the end of the log does not believe a zombie either."""

    async def run() -> None:
        scene = Scene()
        old = scene.claim()
        scene.claim()
        for slot in range(300):
            scene.signal(slot=slot)
        async with scene.reader(start="latest") as reading:
            await asyncio.sleep(1)
            scene.land(USER.encode(), scene.raw(slot=301, sequence=301, epoch=old))
            await asyncio.sleep(1)

        assert scene.done == []
        assert reading.reader.health().verdicts == {Verdict.VOID: 1}

    virtual(run())


def test_the_claims_before_a_restart_are_known() -> None:
    """They are stored with the place: a zombie that writes on is not believed by the reader's next life."""

    async def run() -> None:
        scene = Scene()
        old = scene.claim()
        scene.signal()
        scene.claim()
        async with scene.reader():
            await asyncio.sleep(1)
        for slot in range(1, 3):
            scene.land(USER.encode(), scene.raw(slot=slot, sequence=1 + slot, epoch=old))
            async with scene.reader() as reading:
                await asyncio.sleep(1)
            assert reading.reader.health().verdicts == {Verdict.VOID: 1}

        assert scene.done == [(USER, 1, "acted")]

    virtual(run())


def test_an_expiry_fires_once_also_across_restarts() -> None:
    """What expired while nobody read is put down as expired by the first reader, and by no later one."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.signal()
        await asyncio.sleep(TTL_S)
        for _ in range(3):
            async with scene.reader():
                await asyncio.sleep(1)
        scene.signal(slot=1, sequence=1)

        assert scene.done == [(USER, 1, "expired")]

    virtual(run())


def test_a_signal_that_expires_while_the_store_is_away_is_not_acted_on() -> None:
    """The decision is made again each time it is put down."""

    async def run() -> None:
        store = AwayStore()
        scene = Scene(store=store)
        scene.claim()
        scene.signal()
        store.away = True
        async with scene.reader():
            await asyncio.sleep(TTL_S + 1)
            store.away = False
            await asyncio.sleep(1)

        assert store.asked > 10
        assert scene.done == [(USER, 1, "expired")]

    virtual(run())


def test_a_signal_from_the_future_is_not_acted_on() -> None:
    """One of the clocks is wrong, and it may be ours: nobody can tell when it expires."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        body = orjson.loads(scene.raw())
        ahead_ns = 3600 * 10**9
        times = {name: body[name] + ahead_ns for name in ("generated_ns", "expires_ns")}
        scene.land(USER.encode(), orjson.dumps({**body, **times}))
        async with scene.reader():
            await asyncio.sleep(1)

        assert scene.done == [(USER, 1, "failed")]
        assert isinstance(scene.store, MemoryEffects)
        assert "3600.0 s ahead of this clock" in scene.store.effects[0][1].detail

    virtual(run())


@pytest.mark.parametrize("seed", range(12))
def test_readers_that_crash_anywhere_do_everything_once(seed: int) -> None:
    """Killed at random steps and started again, beside owners that go on writing."""

    async def run() -> None:
        rng, scene = Random(seed), Scene()
        scene.claim()
        written: list[tuple[str, int, str]] = []

        async def write() -> None:
            for slot in range(60):
                for user in (USER, OTHER):
                    scene.signal(user, slot=slot)
                    written.append((user, scene.sequences[user], "acted"))
                await asyncio.sleep(rng.uniform(0, 0.1))

        writing = asyncio.create_task(write())
        while not writing.done():
            async with scene.reader(chunk=rng.randint(1, 5), waiting=rng.randint(1, 9)) as reading:
                await asyncio.sleep(rng.uniform(0, 0.5))
                reading.process.crash()
        async with scene.reader():
            await asyncio.sleep(2)

        assert scene.done == written

    virtual(run())


def test_two_readers_of_one_partition_do_everything_once() -> None:
    """Both believe that they own it: the store lets one of them through at a time."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        async with scene.reader(name="one") as one, scene.reader(name="two") as two:
            for slot in range(40):
                scene.signal(slot=slot)
                await asyncio.sleep(0.3)
            await asyncio.sleep(2)
            taken_over = [reading.reader.health().taken_over for reading in (one, two)]

        assert scene.done == [(USER, n, "acted") for n in range(1, 41)]
        assert max(taken_over) > 0

    virtual(run())


def test_readers_of_a_group_share_the_partitions_and_hand_over() -> None:
    """One joins, one is killed: all is done once, and nothing waits longer than the session."""

    async def run() -> None:
        scene = Scene()
        for partition in range(SIGNALS.partitions):
            scene.claim(partition)
        scene.epoch = 0
        async with scene.reader(name="desk", partitions=None) as first:
            await asyncio.sleep(2)
            alone = first.reader.health().partitions
            async with scene.reader(name="desk", partitions=None) as second:
                await asyncio.sleep(3)
                shared = [reading.reader.health().partitions for reading in (first, second)]
                scene.signal(USER)
                scene.signal(AWAY)
                await asyncio.sleep(1)
                first.process.crash()
                await asyncio.sleep(10)
                scene.signal(USER, slot=1)
                scene.signal(AWAY, slot=1)
                await asyncio.sleep(1)
                rest = second.reader.health().partitions

        assert (len(alone), sum(map(len, shared)), len(rest)) == (24, 24, 24)
        assert all(shared)
        # written while one reader was not yet known to be dead, so that theirs may have expired
        assert sorted((user, n) for user, n, _ in scene.done) == [(USER, 1), (USER, 2), (AWAY, 1), (AWAY, 2)]

    virtual(run())


def test_what_the_consumer_skipped_is_read_back() -> None:
    """Its signals have their effect before the one behind the hole, and the hole is reported."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        async with scene.reader() as reading:
            scene.signal()
            await asyncio.sleep(1)
            with skipping(range(2, 5)):
                for slot in range(1, 5):
                    scene.signal(slot=slot)
                await asyncio.sleep(1)

        assert [number for _, number, _ in scene.done] == [1, 2, 3, 4, 5]
        assert [(gap.kind, gap.start, gap.stop) for gap in reading.gaps] == [(GapKind.FILLED, 2, 5)]

    virtual(run())


def test_what_the_consumer_returns_again_is_passed_over() -> None:
    """A client that went back, as after a change of leader, moves nobody's place back with it."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        with repeating():
            async with scene.reader() as reading:
                for slot in range(3):
                    scene.signal(slot=slot)
                    await asyncio.sleep(1)
                health = reading.reader.health()

        assert [number for _, number, _ in scene.done] == [1, 2, 3]
        assert health.verdicts == {Verdict.CONTROL: 1, Verdict.ACCEPTED: 3}
        assert not reading.gaps

    virtual(run())


def test_what_retention_removed_is_reported() -> None:
    """A reader that was away for too long cannot have it back, and says so."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.signal()
        async with scene.reader():
            await asyncio.sleep(1)
        for slot in range(1, 5):
            scene.signal(slot=slot)
        scene.log.partition(SIGNALS.name, HOME).truncate(4)
        async with scene.reader() as reading:
            await asyncio.sleep(1)

        assert [number for _, number, _ in scene.done] == [1, 4, 5]
        assert [(gap.kind, gap.start, gap.stop) for gap in reading.gaps] == [
            (GapKind.REMOVED, 2, 4),
            (GapKind.NUMBERS, 2, 4),
        ]

    virtual(run())


def test_numbers_that_the_log_does_not_have_are_reported_and_the_signal_counts() -> None:
    """Poison may have borne them; the user's next signal is acted on all the same."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.signal()
        scene.signal(slot=1, sequence=4)
        async with scene.reader() as reading:
            await asyncio.sleep(1)

        assert [number for _, number, _ in scene.done] == [1, 4]
        gap = reading.gaps[0]
        assert (gap.kind, gap.user_id, gap.start, gap.stop) == (GapKind.NUMBERS, USER, 2, 4)

    virtual(run())


def test_poison_becomes_a_dead_letter_with_its_provenance_and_stops_nobody() -> None:
    """Undecodable, misaddressed, forged, another version; never what is void, repeated or expired."""

    async def run() -> None:
        scene = Scene()
        old = scene.claim()
        scene.signal(slot=0)
        scene.claim()
        scene.land(USER.encode(), scene.raw(slot=1, sequence=2, epoch=old))
        scene.land(USER.encode(), scene.raw(slot=0, sequence=1))
        await asyncio.sleep(TTL_S)
        poison = [
            scene.land(b"k" * 9, b"\xff"),
            scene.land(OTHER.encode(), scene.raw(slot=1)),
            scene.land(USER.encode(), scene.raw(slot=1, epoch=10**6)),
            scene.land(USER.encode(), scene.raw(slot=1).replace(b"hub.signal/1", b"hub.signal/2")),
            scene.land(USER.encode(), b"x" * 2**20),
        ]
        scene.signal(slot=1)
        async with scene.reader() as reading:
            await asyncio.sleep(1)

        letters = [headers_of(letter) for letter in scene.letters]
        assert [int(letter["dlq-offset"]) for letter in letters] == poison
        errors = ["undecodable", "misaddressed", "forged", "undecodable", "undecodable"]
        assert [letter["dlq-error"] for letter in letters] == errors
        assert [letter["dlq-schema"] for letter in letters[1:4]] == ["hub.signal/1"] * 2 + ["hub.signal/2"]
        assert {letter["dlq-topic"] for letter in letters} == {SIGNALS.name}
        assert {letter["dlq-partition"] for letter in letters} == {str(HOME)}
        assert {(letter["dlq-attempts"], letter["dlq-reader"]) for letter in letters} == {("1", "desk")}
        assert all(int(letter["dlq-first-ns"]) <= int(letter["dlq-last-ns"]) for letter in letters)
        assert scene.letters[0].key == b"k" * 9
        assert (letters[-1]["dlq-cut"], len(scene.letters[-1].value or b"")) == (str(2**20), 64 * 1024)
        assert scene.done == [(USER, 1, "expired"), (USER, 2, "acted")]
        assert reading.reader.health().dead_letters == len(poison)

    virtual(run())


def test_a_dead_letter_that_cannot_be_written_delays_nobody_for_long() -> None:
    """It is counted, and the record stays where it is."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.land(USER.encode(), b"\xff")
        scene.signal()
        scene.log.faults.refuse = 1.0
        async with scene.reader() as reading:
            await asyncio.sleep(TTL_S - 1)
            health = reading.reader.health()

        assert scene.done == [(USER, 1, "acted")]
        assert (health.dead_letters, health.dead_letters_failed) == (0, 1)

    virtual(run())


def test_a_store_of_another_log_is_refused() -> None:
    """A topic that was made anew counts from zero again; going on would skip all of it."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        await scene.store.apply(HOME, [], Settled(99, ()), after=None)
        async with scene.reader() as reading:
            with pytest.raises(TopicMismatch, match="another cluster"):
                await reading.task

    virtual(run())


def test_an_outage_of_the_broker_is_waited_out() -> None:
    """Nothing is lost or repeated, and the reader lives."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        async with scene.reader():
            scene.signal()
            await asyncio.sleep(1)
            scene.log.cut("desk")
            scene.signal(slot=1)
            await asyncio.sleep(60)
            scene.log.mend("desk")
            await asyncio.sleep(30)
            scene.signal(slot=2)
            scene.signal(slot=3)
            await asyncio.sleep(2)

        assert [number for _, number, _ in scene.done] == [1, 2, 3, 4]

    virtual(run())


class Desk:
    """A service that does something outside of its store, and takes its time."""

    def __init__(self, *, takes_s: float = 0.1, fails: int = 0) -> None:
        self.takes_s = takes_s
        self.fails = fails
        self.log: list[tuple[str, int, str]] = []
        self.most = self.now = 0

    async def act(self, signal: Signal) -> None:
        self.log.append((signal.user_id, signal.sequence, "began"))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.now -= 1
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the broker hung up")
        self.log.append((signal.user_id, signal.sequence, "ended"))


def test_one_account_is_acted_for_in_turn_and_many_at_once() -> None:
    """Never two signals of one account together; the neighbours do not wait for each other."""

    async def run() -> None:
        scene, desk = Scene(), Desk()
        scene.claim()
        users = [USER, *NEIGHBOURS[:5]]
        for slot in range(3):
            for user in users:
                scene.signal(user, slot=slot)
        async with scene.reader(act=desk.act):
            await asyncio.sleep(0.4)

        assert desk.most == len(users)
        for user in users:
            own = [(number, what) for who, number, what in desk.log if who == user]
            assert own == [(number, what) for number in (1, 2, 3) for what in ("began", "ended")]
        assert len(scene.done) == 18

    virtual(run())


def test_an_act_that_fails_is_tried_again_until_it_expires_or_patience_ends() -> None:
    """Then it is put down as failed, once, and the next signal has its turn."""

    async def run() -> None:
        scene, desk = Scene(), Desk(fails=2)
        scene.claim()
        scene.signal()
        async with scene.reader(act=desk.act):
            await asyncio.sleep(1)
            desk.fails = 10**6
            scene.signal(slot=1)
            await asyncio.sleep(3)
            desk.fails = 0
            scene.signal(slot=2)
            await asyncio.sleep(1)

        assert [outcome for _, _, outcome in scene.done] == ["acted", "failed", "acted"]

    virtual(run())


def test_an_act_is_not_begun_after_the_expiry() -> None:
    """The one before it in the lane took too long."""

    async def run() -> None:
        scene, desk = Scene(), Desk(takes_s=TTL_S - 0.5)
        scene.claim()
        scene.signal()
        scene.signal(slot=1)
        async with scene.reader(act=desk.act, act_timeout_s=60, patience_s=60):
            await asyncio.sleep(TTL_S * 2)

        assert scene.done == [(USER, 1, "acted"), (USER, 2, "failed")]
        assert desk.log[-1] == (USER, 2, "began")

    virtual(run())


def test_a_slow_partition_is_held_and_slows_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps a bounded number of records, and nothing is lost when it catches up."""
    monkeypatch.setattr("messaging.memory.bus._CHUNK", 3)

    async def run() -> None:
        scene, desk = Scene(), Desk(takes_s=0.4)
        scene.claim()
        scene.claim(_home(AWAY))
        scene.epoch, most = 0, 0
        async with scene.reader(partitions=(HOME, _home(AWAY)), act=desk.act, chunk=1, waiting=2) as reading:
            for slot in range(60):
                scene.signal(slot=slot)
                if slot % 5 == 0:
                    scene.signal(AWAY, slot=slot)
                await asyncio.sleep(0.1)
                most = max(most, reading.reader.health().waiting)
            await asyncio.sleep(20)

        outcomes = {user: [what for who, _, what in scene.done if who == user] for user in (USER, AWAY)}
        assert (len(outcomes[USER]), len(outcomes[AWAY])) == (60, 12)
        assert set(outcomes[AWAY]) == {"acted"}
        assert 0 < outcomes[USER].count("acted") < 60
        assert most <= 2 + 3 + 1

    virtual(run())


def _home(user: str) -> int:
    return partition_of(user.encode(), SIGNALS.partitions)
