"""`EventBus` on a `MemoryLog`, for one simulated process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from typing import TypeVar

from messaging.memory.group import Group, Member
from messaging.memory.log import MemoryLog
from messaging.memory.process import Process
from messaging.memory.producer import MemoryProducer
from messaging.ports import LogRecord, Membership, Producer, Tail, TopicState
from models.errors import BrokerUnavailable, TopicMismatch

_T = TypeVar("_T")
_CHUNK = 500
_REQUEST_TIMEOUT_S = 10.0


class MemoryBus:
    """Every call passes the gate of its process twice, before it leaves and before its answer is seen."""

    def __init__(self, log: MemoryLog, client_id: str, *, process: Process | None = None) -> None:
        self.log = log
        self.process = process or Process(client_id)
        self._producers: list[MemoryProducer] = []
        self._memberships: list[MemoryMembership] = []

    async def producer(self, name: str) -> Producer:
        producer = MemoryProducer(self.log, self.process, name)
        self._producers.append(producer)
        return producer

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        log = self.log.partition(topic, partition)
        bounds = await self._ask(lambda: None if log.leaderless else (log.first, log.end))
        if bounds is None:
            raise BrokerUnavailable(f"{topic}[{partition}] has no leader")
        return bounds

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        log = self.log.partition(topic, partition)
        return await self._ask(
            lambda: next((r.offset for r in log.records if r.timestamp_ms >= timestamp_ms), log.end)
        )

    async def read(
        self, topic: str, partition: int, start: int, stop: int
    ) -> AsyncGenerator[list[LogRecord], None]:
        tail = await self.tail(topic, {partition: start})
        try:
            while tail.position(partition) < stop:
                records = [r for r in await tail.batch(max_wait_s=_REQUEST_TIMEOUT_S) if r.offset < stop]
                if records:
                    yield records
        finally:
            await tail.close()

    async def tail(
        self,
        topic: str,
        starts: Mapping[int, int],
        *,
        late_ms: int = 0,  # noqa: ARG002 - nothing is polled here
    ) -> Tail:
        for partition in starts:
            self.log.partition(topic, partition)
        return MemoryTail(self.log, self.process, topic, starts)

    async def join(self, group: str, topic: str) -> Membership:
        await self.log.hop(self.process)
        membership = MemoryMembership(self.log, self.process, self.log.group(group, topic))
        self._memberships.append(membership)
        return membership

    async def topics(self) -> Mapping[str, TopicState]:
        return await self._ask(self.log.states)

    async def create_topic(
        self, name: str, *, partitions: int, policy: Mapping[str, str], replication: int
    ) -> None:
        if replication != 1:
            raise TopicMismatch(
                f"replication of {name} was {replication}; the memory bus is one broker, use 1"
            )
        await self._ask(lambda: self.log.add_topic(name, partitions, policy))

    async def ping(self, *, timeout_s: float) -> None:
        await self._ask(lambda: None, timeout_s=timeout_s)

    async def close(self) -> None:
        for producer in self._producers:
            await producer.close()
        for membership in self._memberships:
            await membership.leave()

    async def _ask(self, question: Callable[[], _T], *, timeout_s: float = _REQUEST_TIMEOUT_S) -> _T:
        try:
            async with asyncio.timeout(timeout_s):
                await self.log.hop(self.process)
                answer = question()
                await self.log.hop(self.process)
        except TimeoutError:
            await self.process.turn()
            raise BrokerUnavailable(f"the broker did not answer within {timeout_s} s") from None
        return answer


class MemoryTail:
    """Positions live here, records in the log; partitions take turns so that none starves."""

    def __init__(self, log: MemoryLog, process: Process, topic: str, starts: Mapping[int, int]) -> None:
        self._log = log
        self._process = process
        self._parts = {p: log.partition(topic, p) for p in sorted(starts)}
        self._positions = {p: max(start, self._parts[p].first) for p, start in starts.items()}
        self._held: frozenset[int] = frozenset()
        self._grown = asyncio.Event()
        for part in self._parts.values():
            part.followers[self._grown] = None

    async def batch(self, *, max_wait_s: float) -> list[LogRecord]:
        try:
            async with asyncio.timeout(max_wait_s):
                await self._more()
                await self._log.hop(self._process)
        except TimeoutError:
            await self._process.turn()
            return []
        return [record for partition in self._free() for record in self._take(partition)]

    def position(self, partition: int) -> int:
        return self._positions[partition]

    def hold(self, partitions: Collection[int]) -> None:
        self._held = frozenset(partitions)
        self._grown.set()

    def _free(self) -> list[int]:
        return [partition for partition in self._parts if partition not in self._held]

    async def close(self) -> None:
        for part in self._parts.values():
            part.followers.pop(self._grown, None)

    async def _more(self) -> None:
        """Return when a partition holds more than its position."""
        parts = self._parts
        while all(parts[p].leaderless or self._positions[p] >= parts[p].end for p in self._free()):
            self._grown.clear()
            await self._grown.wait()

    def _take(self, partition: int) -> list[LogRecord]:
        if self._parts[partition].leaderless:
            return []
        records, self._positions[partition] = self._parts[partition].slice(self._positions[partition], _CHUNK)
        return records


class MemoryMembership:
    """A member of a `Group`; the group's task sets the assignment, this side only waits for it."""

    def __init__(self, log: MemoryLog, process: Process, group: Group) -> None:
        self._log = log
        self._process = process
        self._group = group
        self._member: Member = group.join(process)

    @property
    def assigned(self) -> frozenset[int]:
        return self._member.assigned

    async def changed(self) -> frozenset[int]:
        await self._member.fresh.wait()
        await self._process.step("assigned")
        self._member.fresh.clear()
        return self._member.assigned

    async def confirm(self, partition: int) -> bool:
        await self._process.step(f"confirm {partition}")
        try:
            async with asyncio.timeout(self._log.session_s):
                await self._log.hop(self._process)
                confirmed = self._group.confirms(self._member, partition)
                await self._log.hop(self._process)
        except TimeoutError:
            confirmed = False
        await self._process.step(f"confirmed {partition} {confirmed}")
        return confirmed

    async def leave(self) -> None:
        self._group.leave(self._member)
