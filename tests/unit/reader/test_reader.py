"""A service that reads: once each, in order, before expiry; through crashes and rebalances."""

from __future__ import annotations

import asyncio
from random import Random

import orjson
import pytest

from deployments.reader import MemoryEffects, Settled
from messaging.topics import SIGNALS
from models.errors import TopicMismatch
from signals.reader import Verdict
from tests.support.virtual_loop import later
from tests.unit.reader.scene import (
    AWAY,
    HOME,
    NEIGHBOURS,
    USER,
    AwayStore,
    Scene,
    virtual,
)
from tests.unit.signals.records import TTL_NS

TTL_S = TTL_NS / 1e9
OTHER = NEIGHBOURS[0]


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
            await later(1)
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
            await later(1)

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
            await later(1)

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
            await later(1)
            scene.land(USER.encode(), scene.raw(slot=301, sequence=301, epoch=old))
            await later(1)

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
            await later(1)
        for slot in range(1, 3):
            scene.land(USER.encode(), scene.raw(slot=slot, sequence=1 + slot, epoch=old))
            async with scene.reader() as reading:
                await later(1)
            assert reading.reader.health().verdicts == {Verdict.VOID: 1}

        assert scene.done == [(USER, 1, "acted")]

    virtual(run())


def test_an_expiry_fires_once_also_across_restarts() -> None:
    """What expired while nobody read is put down as expired by the first reader, and by no later one."""

    async def run() -> None:
        scene = Scene()
        scene.claim()
        scene.signal()
        await later(TTL_S)
        for _ in range(3):
            async with scene.reader():
                await later(1)
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
            await later(TTL_S + 1)
            store.away = False
            await later(1)

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
            await later(1)

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
                await later(rng.uniform(0, 0.1))

        writing = asyncio.create_task(write())
        while not writing.done():
            async with scene.reader(chunk=rng.randint(1, 5), waiting=rng.randint(1, 9)) as reading:
                await later(rng.uniform(0, 0.5))
                reading.process.crash()
        async with scene.reader():
            await later(2)

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
                await later(0.3)
            await later(2)
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
            await later(2)
            alone = first.reader.health().partitions
            async with scene.reader(name="desk", partitions=None) as second:
                await later(3)
                shared = [reading.reader.health().partitions for reading in (first, second)]
                scene.signal(USER)
                scene.signal(AWAY)
                await later(1)
                first.process.crash()
                await later(10)
                scene.signal(USER, slot=1)
                scene.signal(AWAY, slot=1)
                await later(1)
                rest = second.reader.health().partitions

        assert (len(alone), sum(map(len, shared)), len(rest)) == (24, 24, 24)
        assert all(shared)
        # written while one reader was not yet known to be dead, so that theirs may have expired
        assert sorted((user, n) for user, n, _ in scene.done) == [(USER, 1), (USER, 2), (AWAY, 1), (AWAY, 2)]

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
            await later(1)
            scene.log.cut("desk")
            scene.signal(slot=1)
            await later(60)
            scene.log.mend("desk")
            await later(30)
            scene.signal(slot=2)
            scene.signal(slot=3)
            await later(2)

        assert [number for _, number, _ in scene.done] == [1, 2, 3, 4]

    virtual(run())
