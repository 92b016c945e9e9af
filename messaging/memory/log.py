"""The broker of the memory bus: partitions, groups, links to processes, and what faults do to appends."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from messaging.memory.faults import Fate, Faults
from messaging.memory.group import Group
from messaging.memory.process import Process
from messaging.ports import LogRecord, Record, TopicState
from messaging.sizes import MAX_BATCH_BYTES
from models.errors import AppendRefused, MessagingError, TopicMismatch


class PartitionLog:
    """Records of one partition in order of offset, possibly with gaps after compaction. While it is
    `leaderless` nobody can read it, and what readers have is all they get.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.records: list[LogRecord] = []
        self.first = 0
        self.end = 0
        self.leaderless = False
        self.followers: dict[asyncio.Event, None] = {}  # a set would wake them in another order each run

    def land(self, records: Sequence[Record], timestamp_ms: int) -> int:
        """Append a batch whole and return its base offset."""
        base = self.end
        self.records += [
            LogRecord(
                topic=self.topic,
                partition=self.partition,
                offset=base + i,
                timestamp_ms=timestamp_ms,
                key=record.key,
                value=record.value,
                headers=record.headers,
            )
            for i, record in enumerate(records)
        ]
        self.end = base + len(records)
        for follower in self.followers:
            follower.set()
        return base

    def slice(self, start: int, limit: int) -> tuple[list[LogRecord], int]:
        """At most `limit` records from offset `start`, and the position after them."""
        at = bisect_left(self.records, start, key=_offset)
        found = self.records[at : at + limit]
        more = at + limit < len(self.records)
        return found, found[-1].offset + 1 if more else max(self.end, start)

    def compact(self) -> None:
        """Keep the last record of every key; offsets stay, gaps appear. Tombstones go too."""
        last = {record.key: record.offset for record in self.records}
        self.records = [r for r in self.records if last[r.key] == r.offset and r.value is not None]

    def truncate(self, before: int) -> None:
        """Forget the records before an offset, as retention does."""
        self.first = max(self.first, min(before, self.end))
        self.records = [r for r in self.records if r.offset >= self.first]


def _offset(record: LogRecord) -> int:
    return record.offset


@dataclass(frozen=True, slots=True)
class _Append:
    """An append that has left its producer."""

    process: Process
    log: PartitionLog
    records: Sequence[Record]
    answer: asyncio.Future[int]


class MemoryLog:
    """State shared by every `MemoryBus` on it. It owns the tasks that carry appends once they have left their
    producer, so neither a rebuild nor a crash takes those back.
    """

    def __init__(
        self,
        rng: Random,
        *,
        clock: Callable[[], int] = time.time_ns,
        session_s: float = 6.0,
        heartbeat_s: float = 0.3,
        max_batch_bytes: int = MAX_BATCH_BYTES,
    ) -> None:
        self.rng = rng
        self.faults = Faults()
        self.session_s = session_s
        self.heartbeat_s = heartbeat_s
        self.max_batch_bytes = max_batch_bytes
        self._clock = clock
        self._topics: dict[str, tuple[TopicState, list[PartitionLog]]] = {}
        self._groups: dict[tuple[str, str], Group] = {}
        self._links: dict[str, asyncio.Event] = {}
        self._up = asyncio.Event()
        self._up.set()
        self._carrying: set[asyncio.Task[None]] = set()

    # What a simulation does to the broker

    def cut(self, process: str) -> None:
        """Nothing passes between the broker and the process until `mend`."""
        self._link(process).clear()

    def mend(self, process: str) -> None:
        self._link(process).set()

    def halt(self) -> None:
        """Freeze the broker: it takes and answers nothing until `resume`."""
        self._up.clear()

    def resume(self) -> None:
        self._up.set()

    def group(self, name: str, topic: str) -> Group:
        """The coordinator of a group, made when first asked for."""
        key = name, topic
        if key not in self._groups:
            self._groups[key] = Group(self, partitions=len(self._topic(topic)))
        return self._groups[key]

    # What buses ask of it

    def add_topic(self, name: str, partitions: int, policy: Mapping[str, str]) -> None:
        if name in self._topics:
            raise TopicMismatch(f"topic {name} exists already; it was left as it is")
        state = TopicState(name=name, partitions=partitions, policy=dict(policy))
        self._topics[name] = state, [PartitionLog(name, p) for p in range(partitions)]

    def states(self) -> dict[str, TopicState]:
        return {name: state for name, (state, _) in self._topics.items()}

    def partition(self, topic: str, partition: int) -> PartitionLog:
        logs = self._topic(topic)
        if not 0 <= partition < len(logs):
            raise TopicMismatch(f"topic {topic} has no partition {partition}, only 0 to {len(logs) - 1}")
        return logs[partition]

    def reachable(self, process: Process) -> bool:
        return process.running and self._up.is_set() and self._link(process.name).is_set()

    async def connection(self, process: Process) -> None:
        """Return when a message of the process can reach the broker."""
        while not self.reachable(process):
            await process.turn()
            await self._link(process.name).wait()
            await self._up.wait()

    async def hop(self, process: Process) -> None:
        """One message one way between the process and the broker."""
        await self.connection(process)
        await asyncio.sleep(self.faults.delay(self.rng))
        await self.connection(process)

    def carry(self, process: Process, log: PartitionLog, records: Sequence[Record]) -> asyncio.Future[int]:
        """Take an append over from its producer; the future gets the base offset, an error, or stays open."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._carry(_Append(process, log, records, answer)))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        return answer

    async def _carry(self, append: _Append) -> None:
        fate = self.faults.fate(self.rng)
        late_s = self.rng.uniform(0, self.faults.late_s) if fate is Fate.LATE else 0.0
        await asyncio.sleep(self.faults.delay(self.rng) + late_s)
        await self._up.wait()
        outcome = self._land(append.log, append.records, fate)
        await self.hop(append.process)
        if append.answer.done() or outcome is None:
            return
        if isinstance(outcome, MessagingError):
            append.answer.set_exception(outcome)
        else:
            append.answer.set_result(outcome)

    def _land(self, log: PartitionLog, records: Sequence[Record], fate: Fate) -> int | MessagingError | None:
        """The answer the producer will get; None if it will get none."""
        if fate is Fate.REFUSED:
            return AppendRefused(f"the broker refused the append to {log.topic}[{log.partition}]")
        if fate is Fate.LOST:
            return None
        timestamp_ms = self._clock() // 1_000_000
        base = log.land(records, timestamp_ms)
        if fate is Fate.REPEATED:
            base = log.land(records, timestamp_ms)
        return None if fate in {Fate.ACK_LOST, Fate.LATE} else base

    def _topic(self, name: str) -> list[PartitionLog]:
        if name not in self._topics:
            raise TopicMismatch(f"topic {name} is missing; run `hub topics create`")
        return self._topics[name][1]

    def _link(self, process: str) -> asyncio.Event:
        if process not in self._links:
            self._links[process] = asyncio.Event()
            self._links[process].set()
        return self._links[process]
