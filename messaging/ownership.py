"""Owning partitions in practice: probe, claim, restore, publish, and judge every acknowledgement.

`claims.Owner` decides, this module does the I/O, and a `lease.Room` (fan-out, forecaster, registry) says what
restoring and publishing mean. The main path is `PartitionOwner.run`: one task per assigned partition that
does what its owner's `step` says. The room publishes through a `Lease`, which dies with its claim: an append
on a dead one raises OwnershipLost, the room unwinds, and the task goes round again.

Who owns what: an `Ownership` owns the membership, the producer and the tasks; a task owns its `Owner`; a room
owns its memory of a partition from `restore` until `serve` ends, and forgets it with the next `restore`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Final, NoReturn

from pydantic import Field

from messaging.claims import Owner, Step
from messaging.history import claims_between
from messaging.lease import Lease, Room, SharedProducer
from messaging.ports import EventBus, Membership, Record
from models.base import Frozen
from models.errors import AppendRefused, AppendUnknown, MessagingError, OwnershipLost
from models.events import CLAIM_KEY, Claim
from models.ids import random_id
from models.metrics import Meter

_PAUSE_LIMIT_S: Final = 1.0
_CALM_S: Final = 10.0
_ENTERING: Final = 4


class OwnershipConfig(Frozen):
    """What is owned: the partitions of `topic` that `group` gives to the member called `name`.

    `append_timeout_s`: after it an append counts as unknown. `retry_s`: mean pause before asking a broker
    again that did not answer. `reprobe_s`: longest wait for an assignment before the next probe.
    """

    topic: str
    group: str
    name: str
    append_timeout_s: Annotated[float, Field(gt=0)] = 2.0
    retry_s: Annotated[float, Field(gt=0)] = 0.1
    reprobe_s: Annotated[float, Field(gt=0)] = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerContext:
    """What all partitions of one `Ownership` share."""

    bus: EventBus
    membership: Membership
    producer: SharedProducer
    room: Room
    config: OwnershipConfig
    clock: Callable[[], int]
    rng: Random
    meter: Meter
    live_changed: Callable[[], None]
    entering: asyncio.Semaphore


class PartitionOwner:
    """Tries to own one partition for as long as it is assigned."""

    def __init__(self, context: OwnerContext, partition: int) -> None:
        self.machine: Final = Owner()
        self._partition = partition
        self._context = context
        self._config = context.config
        self._lease = Lease(self, epoch=-1)
        self._assigned = asyncio.Event()
        self._generation = 0
        self._losses = 0
        self._trouble = ""
        self._down_since: float | None = asyncio.get_running_loop().time()

    async def run(self) -> NoReturn:
        """Do what the owner's step says, until cancelled."""
        steps = {
            Step.WAIT: self._wait,
            Step.PROBE: self._enter,
            Step.CLAIM: self._claim,
            Step.RESTORE: self._restore,
            Step.PUBLISH: self._serve,
            Step.REBUILD: self._rebuild,
        }
        while True:
            try:
                await steps[self.machine.step]()
            except MessagingError as error:
                self._trouble = error.message
                await self._pause(self._config.retry_s)

    @property
    def standing(self) -> str:
        """What has to happen next, in the words of `claims.Step`, and what went wrong last."""
        return f"{self.machine.step}: {self._trouble}" if self._trouble else str(self.machine.step)

    @property
    def partition(self) -> int:
        return self._partition

    @property
    def position(self) -> int:
        return self.machine.expected

    @property
    def batch_bytes(self) -> int:
        return self._context.producer.producer.batch_bytes

    def fits(self, records: Sequence[Record]) -> int:
        return self._context.producer.producer.fits(records)

    def assigned(self) -> None:
        """The group assigned the partition again."""
        self.machine.assigned()
        self._assigned.set()

    def down_s(self, now_s: float) -> float:
        """For how long the partition has been assigned and not live, on the loop's clock."""
        return 0.0 if self._down_since is None else now_s - self._down_since

    async def publish(self, records: Sequence[Record], *, within_s: float | None = None) -> int:
        """Append one batch and judge where it landed; OwnershipLost unless it is known to be valid."""
        self.machine.appending(len(records))
        self.machine.acked(await self._append(records, within_s=within_s))
        if self.machine.step is Step.READ_BACK:
            self.machine.read_back(await self._claims_in_gap())
        if self.machine.step is not Step.PUBLISH:
            raise OwnershipLost(f"somebody else claimed {self._config.topic} {self._partition}")
        return self.machine.expected - len(records)

    async def _wait(self) -> None:
        """Until the group assigns again; at times ask it, in case the news was lost."""
        self._assigned.clear()
        try:
            async with asyncio.timeout(self._config.reprobe_s):
                await self._assigned.wait()
        except TimeoutError:
            self.machine.assigned()

    async def _enter(self) -> None:
        """Probe, claim and restore; of many partitions a few at a time, because from its claim to the end of
        its restore a partition stands still, and until then its last owner may publish on.
        """
        async with self._context.entering:
            await self._probe()
            if self.machine.step is Step.CLAIM:
                await self._claim()
                await self._restore()

    async def _probe(self) -> None:
        self.machine.confirmed(held=await self._context.membership.confirm(self._partition))

    async def _claim(self) -> None:
        claim = Claim(
            owner=self._config.name,
            nonce=random_id(self._context.rng),
            claimed_ns=self._context.clock(),
        )
        offset = await self._append([Record(CLAIM_KEY, claim.model_dump_json(by_alias=True).encode())])
        self.machine.claimed(offset)
        self._lease = Lease(self, epoch=offset)

    async def _restore(self) -> None:
        self.machine.restored(await self._context.room.restore(self._lease))

    async def _serve(self) -> None:
        """Live, until the lease is lost."""
        loop, lease = asyncio.get_running_loop(), self._lease
        self._down_since, self._trouble, started = None, "", loop.time()
        self._went_live()
        try:
            await self._context.room.serve(lease)
        except OwnershipLost:
            self._down_since = loop.time()
            self._context.live_changed()
            await self._after_loss(lived_s=self._down_since - started)
        except asyncio.CancelledError:
            lease.end()
            raise

    async def _after_loss(self, *, lived_s: float) -> None:
        """Two members who both believe in their assignment must not fence each other at full speed."""
        self._losses = 0 if lived_s > _CALM_S else self._losses + 1
        if self._losses > 1:
            await self._pause(min(_PAUSE_LIMIT_S, 0.02 * 2**self._losses))

    async def _rebuild(self) -> None:
        if await self._context.producer.rebuild(seen=self._generation):
            self._context.meter.count("hub_producer_rebuilds_total", {"room": self._config.group})
        self.machine.rebuilt()

    async def _append(self, records: Sequence[Record], *, within_s: float | None = None) -> int:
        """Append to the owned partition; a doubtful outcome ends the lease."""
        shared, topic, timeout_s = self._context.producer, self._config.topic, self._config.append_timeout_s
        timeout_s = timeout_s if within_s is None else min(timeout_s, within_s)
        self._generation = await shared.generation()
        try:
            base = await shared.producer.append(topic, self._partition, records, timeout_s=timeout_s)
        except (AppendRefused, AppendUnknown) as error:
            self._count_append("refused" if isinstance(error, AppendRefused) else "unknown")
            self.machine.failed()
            raise OwnershipLost(f"append to {topic} {self._partition}: {error.message}") from error
        self._count_append("ok")
        return base

    async def _claims_in_gap(self) -> list[int]:
        """Read what somebody else wrote before our batch, for as long as it takes."""
        bus, topic, (start, stop) = self._context.bus, self._config.topic, self.machine.gap
        while True:
            try:
                return await claims_between(bus, topic, self._partition, start=start, stop=stop)
            except MessagingError:
                await self._pause(self._config.retry_s)

    async def _pause(self, mean_s: float) -> None:
        await asyncio.sleep(mean_s * (0.5 + self._context.rng.random()))

    def _count_append(self, outcome: str) -> None:
        self._context.meter.count("hub_append_total", {"topic": self._config.topic, "outcome": outcome})

    def _went_live(self) -> None:
        labels = {"topic": self._config.topic, "partition": str(self._partition)}
        self._context.meter.gauge("hub_epoch", labels, self.machine.epoch)
        self._context.live_changed()


class Ownership:
    """Owns what the group assigns: one `PartitionOwner` task per partition, until stopped.

    Nothing happens on a revocation: publishing goes on through a rebalance, and a partition is given up when
    an assignment without it arrives. The claim of the next owner makes that safe.
    """

    def __init__(
        self,
        bus: EventBus,
        room: Room,
        config: OwnershipConfig,
        *,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._bus, self._room, self._config = bus, room, config
        self._clock, self._rng, self._meter = clock, rng, meter
        self._owners: dict[int, PartitionOwner] = {}
        self._tasks: dict[int, asyncio.Task[NoReturn]] = {}
        self._membership: Membership | None = None
        self._leaving = False

    async def run(self) -> NoReturn:
        """Join the group and own what it assigns, until cancelled; then leave and write nothing more."""
        producer = await self._bus.producer(f"{self._config.name}-{self._config.topic}")
        self._membership = await self._bus.join(self._config.group, self._config.topic)
        context = self._context(self._membership, SharedProducer(producer))
        try:
            async with asyncio.TaskGroup() as tasks:
                self._adopt(self._membership.assigned, context, tasks)
                while True:
                    self._adopt(await self._membership.changed(), context, tasks)
        finally:
            await self.leave()
            await producer.close()

    async def leave(self) -> None:
        """Leave the group so that others take over at once. What is owned is published on until the next
        owner's claim fences it, or until `run` is cancelled.
        """
        if self._membership and not self._leaving:
            self._leaving = True
            await self._membership.leave()

    @property
    def partitions(self) -> Mapping[int, PartitionOwner]:
        """The partitions this member tries to own."""
        return self._owners

    def live(self) -> list[int]:
        """The partitions that are owned and restored."""
        return sorted(partition for partition, owner in self._owners.items() if owner.machine.live)

    def entering(self) -> dict[int, str]:
        """The assigned partitions that are not live: what has to happen next, and the last trouble."""
        return {number: owner.standing for number, owner in self._owners.items() if not owner.machine.live}

    def down_s(self) -> float:
        """For how long some assigned partition has been without being live; 0 if all are live."""
        now_s = asyncio.get_running_loop().time()
        return max((owner.down_s(now_s) for owner in self._owners.values()), default=0.0)

    @property
    def ready(self) -> bool:
        """True once the group has assigned something and all of it is live."""
        return bool(self._owners) and len(self.live()) == len(self._owners)

    def _adopt(self, assigned: frozenset[int], context: OwnerContext, tasks: asyncio.TaskGroup) -> None:
        """Give up what is no longer assigned, go on with what still is, start what is new."""
        if self._leaving:
            return
        for partition in self._owners.keys() - assigned:
            del self._owners[partition]
            self._tasks.pop(partition).cancel()
        for owner in self._owners.values():
            owner.assigned()
        for partition in sorted(assigned - self._owners.keys()):
            owner = self._owners[partition] = PartitionOwner(context, partition)
            self._tasks[partition] = tasks.create_task(owner.run())
        self._gauge_live()

    def _context(self, membership: Membership, producer: SharedProducer) -> OwnerContext:
        return OwnerContext(
            bus=self._bus,
            membership=membership,
            producer=producer,
            room=self._room,
            config=self._config,
            clock=self._clock,
            rng=self._rng,
            meter=self._meter,
            live_changed=self._gauge_live,
            entering=asyncio.Semaphore(_ENTERING),
        )

    def _gauge_live(self) -> None:
        self._meter.gauge("hub_owned_partitions", {"topic": self._config.topic}, len(self.live()))
