"""One class of priority: a producer, what waits for it, and one batch in flight per partition.

Who owns what: the lane owns its producer, a task per batch, and at most one task that heals. A caller owns
its outcome until its deadline, or until it is cancelled: a record that still waits is then taken back, a
batch that has left goes on by itself and is settled by its task.

A client has one produce request per broker in flight, so a batch built meanwhile would only wait, and miss
what comes until then. Batches are therefore built when nothing is in flight, or when an answer has come.

A broker's answer that leaves doubt costs a rebuild of the producer. Silence costs more: everything that waits
is refused, and so is all that comes, until the broker answers a ping. So nobody waits for a frozen broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from messaging.backoff import Backoff
from messaging.lease import SharedProducer
from messaging.ports import EventBus, Producer, Record
from messaging.publisher.pace import AckRate, RoundTrip
from messaging.publisher.queues import RETRY_AFTER_S, Pending, Place, QueueLimits, TenantQueues
from messaging.sizes import BATCH_OVERHEAD, record_bytes
from models.errors import AppendNotSent, AppendRefused, AppendUnknown, MessagingError
from models.metrics import Meter

BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 512 << 10
"""Less than a batch may hold, so that nobody waits for long behind somebody else's."""
_PING_S: Final = 1.0
_GATHER_S: Final = 0.005
"""A record waits no longer for answers to others' batches: its own broker may be quicker than theirs."""


@dataclass(frozen=True, slots=True)
class LaneHealth:
    """Counts are of outcomes as callers saw them; `depths` of pending records by tenant; `unhealthy` says
    what is stuck, and is empty if nothing is.
    """

    oldest_pending_s: float
    acks_per_s: float
    published: int
    refused: int
    unknown: int
    rebuilds: int
    depths: Mapping[str, int]
    unhealthy: str


class Lane:
    """Publishes at most one batch per place at a time, so the order of a place is the order of the calls."""

    def __init__(
        self, bus: EventBus, producer: Producer, limits: QueueLimits, *, name: str, meter: Meter
    ) -> None:
        self._bus = bus
        self._producer = SharedProducer(producer)
        self._queues = TenantQueues(limits)
        self._name = name
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._trip = RoundTrip()
        self._acked_s = self._loop.time()
        self._rate = AckRate(self._loop.time())
        self._published = self._refused = self._unknown = 0
        self._ready: dict[Place, None] = {}
        self._working: set[Place] = set()
        self._gathering: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent = ""
        self._defect = ""
        self._closed = False

    async def publish(self, tenant: str, place: Place, record: Record, *, timeout_s: float) -> int:
        """See `Publisher.publish`."""
        now_s = self._loop.time()
        item = Pending(
            tenant, record, record_bytes(record), now_s, now_s + timeout_s, self._loop.create_future()
        )
        try:
            self._admit(place, item)
            deadline = self._loop.call_at(item.deadline_s, _expire, place, item)
            try:
                offset = await item.outcome
            finally:
                deadline.cancel()
        except (AppendUnknown, asyncio.CancelledError):
            self._unknown += 1
            raise
        except MessagingError:
            self._refused += 1
            raise
        self._published += 1
        return offset

    def health(self) -> LaneHealth:
        """How the lane is doing."""
        now_s, since_s = self._loop.time(), self._queues.oldest_since_s()
        oldest_s = 0.0 if since_s is None else now_s - since_s
        return LaneHealth(
            oldest_pending_s=oldest_s,
            acks_per_s=self._rate.per_s(now_s),
            published=self._published,
            refused=self._refused,
            unknown=self._unknown,
            rebuilds=self._producer.producer.health().rebuilds,
            depths=self._queues.depths(),
            unhealthy=self._defect or self._silent,
        )

    async def close(self, grace_s: float) -> None:
        """Take nothing more, send what waits for `grace_s` at most, then stop hard."""
        self._closed = True
        end_s = self._loop.time() + grace_s
        while (self._ready or self._tasks) and (left_s := end_s - self._loop.time()) > 0:
            self._begin()
            await asyncio.wait(self._tasks, timeout=left_s)
        ending = list(self._tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._refuse_waiting("the publisher was closed")
        await self._producer.producer.close()

    def _admit(self, place: Place, item: Pending) -> None:
        """Queue the record and see that its place has a task. Whatever is refused here is refused at once."""
        if self._closed or self._silent:
            why = self._silent or "the publisher is closing"
            raise AppendNotSent(f"nothing is sent to {place.topic}: {why}", retry_after_s=RETRY_AFTER_S)
        if item.deadline_s <= item.since_s:
            raise AppendNotSent(f"a record for {place.topic} came after its deadline")
        if item.size + BATCH_OVERHEAD > self._producer.producer.batch_bytes:
            raise AppendNotSent(f"a record of {item.size} bytes is too large for {place.topic}")
        self._queues.add(place, item)
        self._ready[place] = None
        if self._gathering is None:
            self._gather(_GATHER_S if self._working else 0.0)

    def _gather(self, within_s: float) -> None:
        """Let what comes meanwhile go together."""
        if self._gathering:
            self._gathering.cancel()
        self._gathering = self._loop.call_later(within_s, self._begin)

    def _begin(self) -> None:
        """A batch for every place that has records and none in flight."""
        if self._gathering:
            self._gathering.cancel()
            self._gathering = None
        for place in [place for place in self._ready if place not in self._working]:
            del self._ready[place]
            self._working.add(place)
            self._start(self._work(place))

    async def _work(self, place: Place) -> None:
        """Send a batch; then it is everybody's turn again."""
        try:
            generation = await self._producer.generation()
            batch = self._queues.take(place, records=BATCH_RECORDS, size=BATCH_BYTES)
            if batch:
                await self._send(place, batch, generation)
        finally:
            self._working.discard(place)
            if self._queues.waits(place):
                self._ready[place] = None
            if self._ready:
                self._gather(0.0)

    async def _send(self, place: Place, batch: Sequence[Pending], generation: int) -> None:
        begun_s = self._loop.time()
        bound_s = self._trip.bound_s(max(item.deadline_s for item in batch) - begun_s)
        records = [item.record for item in batch]
        for item in batch:
            item.sent = True
        try:
            base = await self._producer.producer.append(*place, records, timeout_s=bound_s)
        except MessagingError as error:
            self._settle_failed(place, batch, error)
            silent = self._loop.time() - begun_s >= bound_s and self._acked_s <= begun_s
            await self._recover(error, generation, silent=silent)
        except asyncio.CancelledError:
            self._settle_failed(place, batch, AppendUnknown("the publisher was closed before the answer"))
            raise
        else:
            self._acked_s = self._loop.time()
            self._trip.took(self._acked_s - begun_s)
            self._settle_ok(place, batch, base)

    def _settle_ok(self, place: Place, batch: Sequence[Pending], base: int) -> None:
        for offset, item in enumerate(batch, base):
            if not item.outcome.done():
                item.outcome.set_result(offset)
            self._queues.settled(item)
        self._rate.add(len(batch), self._acked_s)
        self._count(place, "ok")

    def _settle_failed(self, place: Place, batch: Sequence[Pending], error: MessagingError) -> None:
        self._refuse(batch, error)
        self._count(place, "unknown" if isinstance(error, AppendUnknown) else "refused")

    def _refuse(self, items: Sequence[Pending], error: MessagingError) -> None:
        for item in items:
            if not item.outcome.done():
                item.outcome.set_exception(error)
            self._queues.settled(item)

    async def _recover(self, error: MessagingError, generation: int, *, silent: bool) -> None:
        """Silence closes the lane until it is healed; any other doubt costs a rebuild."""
        if silent and not self._silent:
            self._silent = f"the broker does not answer ({error.message})"
            self._refuse_waiting(self._silent)
            self._start(self._heal(generation))
        elif _doubtful(error):
            await self._rebuild(generation)

    async def _heal(self, generation: int) -> None:
        """Drop what is in flight, then ask the broker until it answers."""
        await self._rebuild(generation)
        backoff = Backoff(first_s=0.1, most_s=RETRY_AFTER_S)
        while True:
            try:
                await self._bus.ping(timeout_s=_PING_S)
            except MessagingError:
                await asyncio.sleep(backoff.next_s())
            else:
                self._silent = ""
                return

    async def _rebuild(self, generation: int) -> None:
        if await self._producer.rebuild(seen=generation):
            self._meter.count("hub_producer_rebuilds_total", {"room": self._name})

    def _refuse_waiting(self, why: str) -> None:
        error = AppendNotSent(f"not sent: {why}", retry_after_s=RETRY_AFTER_S)
        self._refuse(self._queues.take_all(), error)

    def _count(self, place: Place, outcome: str) -> None:
        self._meter.count("hub_append_total", {"topic": place.topic, "outcome": outcome})

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that ended by a defect is what health has to say."""
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()):
            self._defect = f"a defect: {defect!r}"


def _expire(place: Place, item: Pending) -> None:
    """At its deadline an outcome is unknown only if the record has left."""
    if item.outcome.done():
        return
    waited = f"within {item.deadline_s - item.since_s:g} s"
    if item.sent:
        error: MessagingError = AppendUnknown(f"a record for {place.topic} was not acknowledged {waited}")
    else:
        error = AppendNotSent(f"a record for {place.topic} had no turn {waited}", retry_after_s=RETRY_AFTER_S)
    item.outcome.set_exception(error)


def _doubtful(error: MessagingError) -> bool:
    """After these a producer must be rebuilt."""
    return isinstance(error, AppendRefused | AppendUnknown) and not isinstance(error, AppendNotSent)
