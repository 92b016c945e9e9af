"""`SignalReader`: follows partitions of `user.signals` and keeps a store in step with them.

    EventBus.tail --> SignalReader --> PartitionReader (one task each) --> EffectStore
                          |
    EventBus.join --------'  which partitions, if they are shared in a group

One tail reads all partitions; one that cannot keep up is held at the broker and slows no other. Which
partitions are read is for the group to say, or for the caller; what was read is for the store alone, so no
offset is ever committed, and two readers of one partition do no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from random import Random
from typing import Final, NoReturn

from deployments.reader.config import ReaderConfig
from deployments.reader.dead_letters import DeadLetters
from deployments.reader.health import ReaderHealth
from deployments.reader.lanes import Decision
from deployments.reader.partition import PartitionReader, Tools
from deployments.reader.ports import EffectStore, Service
from messaging.ports import EventBus, Membership
from messaging.topics import SIGNALS
from models.errors import MessagingError, StaleWriter, StoreUnavailable, TopicMismatch

_LOG: Final = logging.getLogger(__name__)


class SignalReader:
    """`run` is its one task; `clock` is wall time in nanoseconds."""

    def __init__(
        self,
        bus: EventBus,
        store: EffectStore,
        service: Service,
        *,
        clock: Callable[[], int],
        rng: Random,
        config: ReaderConfig | None = None,
    ) -> None:
        config = config or ReaderConfig()
        self._bus = bus
        self._name = service.name
        self._rng = rng
        self._config = config
        self._health = ReaderHealth()
        self._letters = DeadLetters(bus, reader=service.name, clock=clock, config=config)
        self._tools = Tools(
            bus=bus,
            store=store,
            letters=self._letters,
            decision=Decision(clock, config),
            health=self._health,
            config=config,
            service=service,
        )
        self._assigned: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._open: dict[int, PartitionReader] = {}
        self._tasks: dict[int, asyncio.Task[NoReturn]] = {}
        self._sharing: asyncio.Task[NoReturn] | None = None

    async def run(self, partitions: Iterable[int] | None = None) -> NoReturn:
        """Read these partitions, or share all of them with the others of the group `name`, until cancelled.

        TopicMismatch if the topic is missing, or the store is of another log. What is being settled when it
        is cancelled is finished or undone, never half done.
        """
        if partitions is None:
            self._sharing = asyncio.create_task(self._share())
            self._sharing.add_done_callback(lambda _: self._changed.set())
        else:
            self._assign(frozenset(partitions))
        try:
            await self._follow()
        finally:
            await self._close(tuple(self._open))
            await self._letters.close()
            await _ended(self._sharing)

    def health(self) -> ReaderHealth:
        """Counts since the start, as of now."""
        return replace(
            self._health,
            partitions=frozenset(self._open),
            waiting=sum(map(len, self._open.values())),
            dead_letters=self._letters.written,
            dead_letters_failed=self._letters.failed,
        )

    def _assign(self, partitions: frozenset[int]) -> None:
        self._assigned = partitions
        self._changed.set()

    async def _share(self) -> NoReturn:
        """Follow what the group assigns; leave it at the end, so that others need not wait."""
        membership = await self._joined()
        try:
            self._assign(membership.assigned)
            while True:
                self._assign(await membership.changed())
        finally:
            await membership.leave()

    async def _joined(self) -> Membership:
        while True:
            try:
                return await self._bus.join(self._name, SIGNALS.name)
            except MessagingError as error:
                await self._pause(f"joining the group: {error}")

    async def _follow(self) -> NoReturn:
        """Read on, through every outage of broker and store."""
        while True:
            self._changed.clear()
            if self._sharing and self._sharing.done():
                await self._sharing
            try:
                await self._reopen()
                await self._read()
            except TopicMismatch:
                raise
            except (MessagingError, StoreUnavailable) as error:
                await self._pause(str(error))

    async def _reopen(self) -> None:
        """Close what was assigned away or has ended, and open what is assigned and not there."""
        ended = {partition for partition, task in self._tasks.items() if task.done()}
        trouble = await self._close(ended | (self._open.keys() - self._assigned))
        if trouble:
            await self._pause("; ".join(trouble))
        for partition in sorted(self._assigned - self._open.keys()):
            opened = await PartitionReader.opened(partition, self._tools)
            self._open[partition] = opened
            self._tasks[partition] = asyncio.create_task(opened.run())
            self._tasks[partition].add_done_callback(lambda _: self._changed.set())

    async def _read(self) -> None:
        """Hand the log to the open partitions until the set of them changes."""
        if not self._open:
            await self._changed.wait()
            return
        tail = await self._bus.tail(SIGNALS.name, {p: one.next_offset for p, one in self._open.items()})
        try:
            while not self._changed.is_set():
                tail.hold({partition for partition, one in self._open.items() if one.full})
                for record in await tail.batch(max_wait_s=self._config.turn_s):
                    self._open[record.partition].put(record)
        finally:
            await tail.close()

    async def _close(self, partitions: Collection[int]) -> list[str]:
        """End them when they have settled what they are at, but do not wait long for a store that is away.

        Returns why some had ended by themselves; what is no outage is a defect, and raised.
        """
        trouble: list[str] = []
        for partition in partitions:
            one, task = self._open.pop(partition), self._tasks.pop(partition)
            if not task.done():
                await one.idle(timeout_s=self._config.stop_s)
            await _ended(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, StaleWriter):
                self._health.taken_over += 1
            if isinstance(error, MessagingError):
                trouble.append(str(error))
            elif error:
                raise error
        return trouble

    async def _pause(self, why: str) -> None:
        """Give others time: readers that fall over each other should not do it in step."""
        _LOG.warning("%s: %s", self._name, why)
        await asyncio.sleep(self._config.retry_s * (0.5 + self._rng.random()) * 10)


async def _ended(task: asyncio.Task[NoReturn] | None) -> None:
    """Cancel the task if it still runs, and wait for its end."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
