"""What the hub asks of a log (`EventBus`) and of a market feed (`MarketFeed`).

Implementations: `messaging/kafka`, `messaging/nats`, `messaging/memory`. One contract suite each in
`tests/contracts` runs on all of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from models.market import Bar, MarketClock, Tick


class Record(NamedTuple):
    """What is written. `value` None is a tombstone on compacted topics. A tuple, because one is made per user
    and signal.
    """

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class LogRecord:
    """What is read back, with its place in the log and the broker's time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class ProducerHealth:
    """Oldest unanswered append in seconds, and counts since the start."""

    oldest_pending_s: float
    unknown: int
    rebuilds: int


class Producer(Protocol):
    """Writes batches. One append per partition may be in flight; the caller sees to that."""

    async def append(self, topic: str, partition: int, records: Sequence[Record], *, timeout_s: float) -> int:
        """Write all records as one batch and return the offset of the first.

        The batch lands whole or not at all. Raises AppendNotSent (for example too large, or no connection),
        AppendRefused (the broker answered that it wrote nothing), or AppendUnknown at the timeout or on a
        lost connection: then the batch may be in the log, or may still arrive. But for the first, call
        `rebuild` before the next append.
        """
        ...

    @property
    def batch_bytes(self) -> int:
        """How large a batch may be, as `messaging.sizes` counts."""
        ...

    def fits(self, records: Sequence[Record]) -> int:
        """How many of the records, from the first, fit one batch."""
        ...

    async def rebuild(self) -> None:
        """Drop everything pending: this process sends nothing appended before after this returned. Backs off.

        What a broker had already received it may still write, so an owner claims again before it goes on.
        """
        ...

    async def close(self) -> None:
        """Bounded stop (<= 5 s); nothing is sent later."""
        ...

    def health(self) -> ProducerHealth: ...


class Tail(Protocol):
    """An unbounded read of some partitions in order."""

    async def batch(self, *, max_wait_s: float) -> list[LogRecord]:
        """The next records of any of the partitions, in order per partition; empty after `max_wait_s`."""
        ...

    def position(self, partition: int) -> int:
        """Offset of the next record to come; moves past gaps and control batches."""
        ...

    def hold(self, partitions: Collection[int]) -> None:
        """Return nothing of these partitions from here on, and of all others again: a slow reader's brake."""
        ...

    async def close(self) -> None: ...


class Membership(Protocol):
    """Says which partitions this worker should try to own. Safety is in the log, not here."""

    @property
    def assigned(self) -> frozenset[int]: ...

    async def changed(self) -> frozenset[int]:
        """Wait for the next assignment (also one equal to the last) and return it."""
        ...

    async def confirm(self, partition: int) -> bool:
        """Ask the coordinator now: is this member in the current generation, with this partition?"""
        ...

    async def leave(self) -> None:
        """Leave at once, so that others take over without waiting for the session to end."""
        ...


@dataclass(frozen=True, slots=True)
class TopicState:
    """What the broker says of a topic; `policy` is None where it cannot say."""

    name: str
    partitions: int
    policy: Mapping[str, str] | None


class EventBus(Protocol):
    """A partitioned, durable log with groups."""

    async def producer(self, name: str) -> Producer: ...

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset kept and the offset after the last record."""
        ...

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """First offset written at or after the time (broker clock); the end if there is none."""
        ...

    def read(
        self, topic: str, partition: int, start: int, stop: int
    ) -> AsyncGenerator[list[LogRecord], None]:
        """Records in [start, stop), ending when the position reaches `stop`, also over compacted gaps.

        Who stops before the end closes it.
        """
        ...

    async def tail(self, topic: str, starts: Mapping[int, int], *, late_ms: int = 0) -> Tail:
        """Follow partitions from the given offsets. Where nobody waits for records they may come `late_ms`
        later, and a broker that sleeps through long polls is asked that much less often.
        """
        ...

    async def join(self, group: str, topic: str) -> Membership: ...

    async def topics(self) -> Mapping[str, TopicState]: ...

    async def create_topic(
        self, name: str, *, partitions: int, policy: Mapping[str, str], replication: int
    ) -> None: ...

    async def ping(self, *, timeout_s: float) -> None:
        """Raise BrokerUnavailable unless the broker answers in time."""
        ...

    async def close(self) -> None: ...


class Broadcast(Protocol):
    """Word to all who listen now, kept nowhere: for what the log will say too, only later."""

    async def tell(self, subject: str, payload: bytes) -> None:
        """Raises BrokerUnavailable if it was not sent; that it was heard is not known."""
        ...

    def hear(self, subject: str) -> AsyncIterator[bytes]:
        """What is told from now on, through every outage; what is told during one is missed."""
        ...

    async def close(self) -> None: ...


class MarketFeed(Protocol):
    """Ticks, the market clock and bars. Regenerable data only: the record is Kafka."""

    async def publish_tick(self, tick: Tick) -> None: ...

    async def publish_clock(self, clock: MarketClock) -> None: ...

    def follow(self, symbols: Sequence[str], *, since_ms: int | None) -> AsyncIterator[Tick | MarketClock]:
        """Ticks of the symbols and the clock in the order they were sent, from market time `since_ms`
        (None: from now), first from what is kept and then live.
        """
        ...

    async def put_bar(self, bar: Bar, *, after: int | None) -> int:
        """Store a bar if the subject's last sequence is `after` (None: unchecked); return the new sequence.

        Raises StaleWriter if somebody else wrote in between.
        """
        ...

    async def bars(self, symbol: str, bar_ms: int, *, limit: int) -> tuple[list[Bar], int]:
        """The last bars, oldest first, and the subject's last sequence (0 if none)."""
        ...

    async def publish(self, subject: str, payload: bytes) -> None:
        """Fire and forget on a core subject (health, control)."""
        ...

    async def ping(self, *, timeout_s: float) -> None: ...

    async def close(self) -> None: ...
