"""What goes wrong in a simulated world: drawn from its dice, one fault every two seconds on average."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from messaging.topics import CONTROL, FANOUT, FORECASTER, PREDICTIONS, SIGNAL_STATE, SIGNALS, SUBSCRIPTIONS

if TYPE_CHECKING:
    from tests.simulation.world import World

PARTITIONS: Final = 4
"""Of the topics that are partitioned by user."""
LATE_S: Final = 5.0
COMPACTION_LAG_MS: Final = 15_000
DELAY_S: Final = (0.0005, 0.003)


class Trouble:
    """Every fault ends by itself or with `mend`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._log = world.log

    async def run(self, seconds: float) -> None:
        """Let things go wrong for so long."""
        end_s = asyncio.get_running_loop().time() + seconds
        while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left_s, self._rng.expovariate(1 / 2.0)))
            self._rng.choice(self._faults())()

    def _faults(self) -> Sequence[Callable[[], object]]:
        return (
            self.freeze,
            self.freeze,
            self.crash,
            self.trap,
            self.trap,
            self.cut,
            self.hand_over,
            self.halt,
            self.share,
            self.rebalance,
            self.storm,
            self.storm,
            self._world.change_subscription,
            self._world.change_subscription,
            self._world.halt,
            self.hide,
            self.compact,
        )

    def mend(self) -> None:
        """End every fault."""
        self._world.trap = None
        self._log.faults.refuse = self._log.faults.lose = self._log.faults.lose_ack = 0.0
        self._log.faults.late = self._log.faults.repeat = 0.0
        self._log.faults.delay_s = DELAY_S
        self._log.resume()
        self._log.partition(CONTROL.name, 0).leaderless = False
        self._log.group(FANOUT.name, SIGNALS.name)._shared.clear()
        self.rebalance()
        for host in self._world.hosts:
            self._log.mend(host.name)
            host.process.thaw()

    def freeze(self) -> None:
        victim = self._world.victim()
        victim.process.freeze()
        self._world.later(
            self._rng.choice((0.3, 2.0, 5.0, 8.0, 12.0)) * self._rng.random() * 1.5, victim.process.thaw
        )

    def crash(self) -> None:
        if (victim := self._world.victim()).usable:
            self._world.kill(victim)

    def trap(self) -> None:
        """Crash a process at one of its next steps, whichever that is."""
        if (victim := self._world.victim()).usable:
            self._world.trap = (victim.name, self._rng.randint(1, 40))

    def cut(self) -> None:
        victim = self._world.victim()
        self._log.cut(victim.name)
        self._world.later(self._rng.uniform(0.1, 9.0), lambda: self._log.mend(victim.name))

    def hand_over(self) -> None:
        victim = self._world.victim()
        if victim.usable:
            victim.leaving = True
            self._world.background(victim.worker.stop())
            self._world.later(self._rng.uniform(0, 3), lambda: self._world.replace(victim))

    def halt(self) -> None:
        self._log.halt()
        self._world.later(self._rng.uniform(0.1, 4.0), self._log.resume)

    def hide(self) -> None:
        """The log of halts has no leader for a while, in which something is halted."""
        log = self._log.partition(CONTROL.name, 0)
        log.leaderless = True
        self._world.later(self._rng.uniform(0.0, 1.0), self._world.halt)
        self._world.later(self._rng.uniform(0.5, 8.0), lambda: setattr(log, "leaderless", False))

    def share(self) -> None:
        self._log.group(FANOUT.name, SIGNALS.name).share(self._rng.randrange(PARTITIONS))

    def rebalance(self) -> None:
        self._log.group(FANOUT.name, SIGNALS.name).rebalance()
        self._log.group(FORECASTER.name, PREDICTIONS.name).rebalance()

    def storm(self) -> None:
        """For a while appends fail in one way."""
        fault = self._rng.choice(("refuse", "lose", "lose_ack", "lose_ack", "late", "repeat"))
        self._log.faults.late_s = LATE_S
        setattr(self._log.faults, fault, self._rng.choice((0.05, 0.3, 0.9)))
        self._log.faults.delay_s = (0.0005, self._rng.choice((0.003, 0.05, 0.5)))
        self._world.later(self._rng.uniform(0.5, 4.0), lambda: self._calm(fault))

    def _calm(self, fault: str) -> None:
        setattr(self._log.faults, fault, 0.0)
        self._log.faults.delay_s = DELAY_S

    def compact(self) -> None:
        """As a broker does at any time, but never within the lag that the contract asks for."""
        self._log.partition(SIGNAL_STATE.name, self._rng.randrange(PARTITIONS)).compact()
        log = self._log.partition(SUBSCRIPTIONS.name, self._rng.randrange(PARTITIONS))
        old_ms = self._world.clock() // 1_000_000 - COMPACTION_LAG_MS
        last = {record.key: record.offset for record in log.records if record.timestamp_ms < old_ms}
        log.records = [record for record in log.records if record.offset >= last.get(record.key, -1)]
