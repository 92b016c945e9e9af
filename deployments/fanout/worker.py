"""The fan-out worker: owns users by claim, and puts the parts of this room together.

    hub.predictions --PredictionLog--> Inbox --OwnedPartition--> user.signals
    user.subscriptions --Books---------------'      '--CheckpointWriter--> user.signal_state

PredictionLog and Books are read once per worker; the rest is there once per owned partition.

Every task runs on one event loop; the worker owns no thread, clock or randomness of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, NoReturn

from deployments.fanout.batches import Turns
from deployments.fanout.books import Books
from deployments.fanout.checkpoints import CheckpointWriter
from deployments.fanout.config import WorkerConfig
from deployments.fanout.fold import Fold
from deployments.fanout.halted import LiveHalts
from deployments.fanout.parcels import Tools
from deployments.fanout.partition import OwnedPartition
from deployments.fanout.predictions import PredictionLog
from deployments.fanout.tally import Tally
from messaging.history import latest_checkpoint
from messaging.lease import Lease
from messaging.ownership import Ownership, OwnershipConfig
from messaging.ports import Broadcast, EventBus
from messaging.topics import FANOUT, SIGNALS
from models.errors import OwnershipLost
from models.metrics import Meter
from models.strategy import Strategy

_FLUSH_S: Final = 0.5


class FanoutWorker:
    """One member of the fan-out group. `run` is its main task; `restore` and `serve` are called by the
    ownership, from one task per partition.
    """

    def __init__(
        self,
        bus: EventBus,
        strategies: Sequence[Strategy],
        *,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
        config: WorkerConfig,
        broadcast: Broadcast | None = None,
    ) -> None:
        self._bus = bus
        self._config = config
        self._predictions = PredictionLog(
            bus, clock=clock, rng=rng, lookback_s=config.lookback_s, retry_s=config.retry_s
        )
        self._tools = Tools(
            books=Books(bus, rng=rng, retry_s=config.retry_s),
            checkpoints=CheckpointWriter(
                bus, name=config.name, rng=rng, timeout_s=config.append_timeout_s, retry_s=config.retry_s
            ),
            strategies={strategy.ref: strategy for strategy in strategies},
            tally=Tally(meter),
            turns=Turns(),
            halts=LiveHalts(bus, broadcast, clock=clock, rng=rng, retry_s=config.retry_s),
            clock=clock,
            timings=config,
        )
        self._ownership = Ownership(bus, self, _ownership(config), clock=clock, rng=rng, meter=meter)
        self._owned: dict[int, OwnedPartition] = {}
        self._running: asyncio.Task[Any] | None = None

    async def run(self) -> NoReturn:
        """Own, follow and publish, until cancelled or stopped."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._predictions.follow())
            tasks.create_task(self._tools.books.follow())
            tasks.create_task(self._tools.checkpoints.run())
            tasks.create_task(self._tools.halts.run())
            tasks.create_task(self._measure())
            await self._ownership.run()

    async def stop(self) -> None:
        """Hand over: leave the group, publish on while others take over, then end `run`."""
        await self._ownership.leave()
        await asyncio.sleep(self._config.drain_s)
        if self._running:
            self._running.cancel()

    async def restore(self, lease: Lease) -> int:
        """Forget the partition; fold its log up to the claim and its subscriptions; take what it is owed.
        Nothing is published before it is known what is halted.
        """
        await self._tools.halts.read()
        partition, stop = lease.partition, lease.epoch + 1
        self._forget(partition)
        checkpoint = await latest_checkpoint(self._bus, partition, before=stop)
        fold = await Fold.restored(self._bus, partition, stop=stop, checkpoint=checkpoint)
        live = await self._tools.books.open(partition)
        try:
            inbox = await self._predictions.open(fold.rules.cursor)
        except BaseException:
            self._tools.books.close(partition, live)
            raise
        self._owned[partition] = OwnedPartition(lease, fold=fold, live=live, inbox=inbox, tools=self._tools)
        return fold.rules.position

    async def serve(self, lease: Lease) -> NoReturn:
        """Settle what the partition is owed until the lease is lost."""
        try:
            await self._owned[lease.partition].run()
        except (OwnershipLost, asyncio.CancelledError):
            if self._owned[lease.partition].lease is lease:
                self._forget(lease.partition)
            raise

    @property
    def ready(self) -> bool:
        """Whether all that the group assigned is owned and restored."""
        return self._ownership.ready

    def down_s(self) -> float:
        """For how long some assigned partition has been without being live."""
        return self._ownership.down_s()

    def status(self) -> dict[str, Any]:
        """What is owned under which claim, how far it is, and what became of what was owed."""
        return {
            "ready": self.ready,
            "down_s": self.down_s(),
            "entering": self._ownership.entering(),
            "assigned": sorted(self._ownership.partitions),
            "live": self._ownership.live(),
            "partitions": {partition: _status(owned) for partition, owned in self._owned.items()},
            "positions": dict(self._predictions.positions),
            "lag": self._lag(),
            "halts": self._tools.halts.status(),
            "tick_to_ack_ms": self._tools.tally.tick_to_ack_ms(),
            "counters": {
                **self._tools.tally.totals,
                "checkpoints": self._tools.checkpoints.written,
                "checkpoints_failed": self._tools.checkpoints.failed,
                "marks": self._tools.checkpoints.marked,
                **{f"predictions_{verdict}": n for verdict, n in self._predictions.verdicts.items()},
            },
        }

    def _forget(self, partition: int) -> None:
        owned = self._owned.pop(partition, None)
        if owned:
            self._predictions.close(owned.inbox)
            self._tools.books.close(partition, owned.live)

    def _lag(self) -> int:
        """Predictions that the owner furthest behind has not settled."""
        return max((len(owned.inbox) for owned in self._owned.values()), default=0)

    async def _measure(self) -> NoReturn:
        while True:
            await asyncio.sleep(_FLUSH_S)
            self._tools.tally.flush(lag=self._lag())


def _status(owned: OwnedPartition) -> dict[str, Any]:
    return {
        "epoch": owned.lease.epoch,
        "position": owned.lease.position,
        "waiting": len(owned.inbox),
        "subscriptions": len(owned.live.book),
    }


def _ownership(config: WorkerConfig) -> OwnershipConfig:
    return OwnershipConfig(
        topic=SIGNALS.name,
        group=FANOUT.name,
        name=config.name,
        append_timeout_s=config.append_timeout_s,
        retry_s=config.retry_s,
    )
