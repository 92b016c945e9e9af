"""A service that acts: one account in turn, many at once, never late, and slow without slowing others."""

from __future__ import annotations

import pytest

from messaging.topics import SIGNALS, partition_of
from models.signal import Signal
from tests.support.virtual_loop import later, until
from tests.unit.reader.scene import (
    AWAY,
    HOME,
    NEIGHBOURS,
    USER,
    Scene,
    virtual,
)
from tests.unit.signals.records import TTL_NS

TTL_S = TTL_NS / 1e9


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
            await later(self.takes_s)
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
            await until(lambda: len(scene.done) == 18, within_s=0.4)

        assert desk.most == len(users)
        for user in users:
            own = [(number, what) for who, number, what in desk.log if who == user]
            assert own == [(number, what) for number in (1, 2, 3) for what in ("began", "ended")]

    virtual(run())


def test_an_act_that_fails_is_tried_again_until_it_expires_or_patience_ends() -> None:
    """Then it is put down as failed, once, and the next signal has its turn."""

    async def run() -> None:
        scene, desk = Scene(), Desk(fails=2)
        scene.claim()
        scene.signal()
        async with scene.reader(act=desk.act):
            await until(lambda: len(scene.done) == 1, within_s=1)
            desk.fails = 10**6
            scene.signal(slot=1)
            await until(lambda: len(scene.done) == 2, within_s=3)
            desk.fails = 0
            scene.signal(slot=2)
            await until(lambda: len(scene.done) == 3, within_s=1)

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
            await later(TTL_S * 2)

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
                await later(0.1)
                most = max(most, reading.reader.health().waiting)
            await until(lambda: len(scene.done) == 72, within_s=20)

        outcomes = {user: [what for who, _, what in scene.done if who == user] for user in (USER, AWAY)}
        assert (len(outcomes[USER]), len(outcomes[AWAY])) == (60, 12)
        assert set(outcomes[AWAY]) == {"acted"}
        assert 0 < outcomes[USER].count("acted") < 60
        assert most <= 2 + 3 + 1

    virtual(run())


def _home(user: str) -> int:
    return partition_of(user.encode(), SIGNALS.partitions)
