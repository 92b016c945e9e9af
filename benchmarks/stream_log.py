"""Writes signals for `stream.py` as the fan-out does: under a claim, each user's in order and by its key."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Final

from benchmarks import crowd
from messaging.ports import EventBus, Producer, Record
from messaging.topics import SIGNALS, partition_of
from models.events import CLAIM_KEY, Claim
from models.signal import Kind, Risk, Signal, Source
from signals.encoding import encode

TENANT: Final = "benchmark"
_APPEND_S: Final = 10.0
_LIVES_NS: Final = 600 * 10**9


def user_of(number: int) -> str:
    """The user's id."""
    return f"user-{number:05d}"


class SignalLog:
    """The owner of all partitions of `user.signals`. One append per partition is in flight at a time."""

    def __init__(self, bus: EventBus, producer: Producer) -> None:
        self._bus = bus
        self._producer = producer
        self._rng = Random(1)
        self._epochs: dict[int, int] = {}
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots = 0
        self.sequences: dict[str, int] = defaultdict(int)

    async def claim(self) -> None:
        """Own every partition."""
        record = Record(CLAIM_KEY, encode(Claim(owner="driver", nonce="0" * 32, claimed_ns=time.time_ns())))
        for partition in range(SIGNALS.partitions):
            self._epochs[partition] = await self._append(partition, [record])

    async def write(self, user: str) -> None:
        """The user's next signal."""
        partition = _home(user)
        async with self._locks[partition]:
            await self._append(partition, [self._record(user, partition)])

    async def write_all(self, users: Sequence[str]) -> None:
        """One signal for each of the users, a batch per partition, all at once."""
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for user in users:
            by_partition[_home(user)].append(self._record(user, _home(user)))
        await asyncio.gather(
            *(self._append(partition, records) for partition, records in by_partition.items())
        )

    async def ends(self) -> list[int]:
        """Where every partition ends now."""
        return [(await self._bus.bounds(SIGNALS.name, p))[1] for p in range(SIGNALS.partitions)]

    async def appended_ms(self, starts: Sequence[int]) -> dict[tuple[str, int], int]:
        """The broker's time of every signal since, by user and sequence."""
        times: dict[tuple[str, int], int] = {}
        for partition, (start, end) in enumerate(zip(starts, await self.ends(), strict=True)):
            async for records in self._bus.read(SIGNALS.name, partition, start, end):
                for record in records:
                    if record.key != CLAIM_KEY:
                        body = Signal.from_record(record.value or b"")
                        times[body.user_id, body.sequence] = record.timestamp_ms
        return times

    async def _append(self, partition: int, records: Sequence[Record]) -> int:
        return await self._producer.append(SIGNALS.name, partition, records, timeout_s=_APPEND_S)

    def _record(self, user: str, partition: int) -> Record:
        """An abstain of a slot of its own; what it says costs the stream nothing."""
        self._slots += 1
        self.sequences[user] += 1
        now_ns = time.time_ns()
        owed = crowd.prediction(1, self._slots, epoch=0, tick_ns=now_ns, rng=self._rng)
        signal = Signal(
            **owed.slot.model_dump(),
            asof_ms=owed.asof_ms,
            generated_ns=now_ns,
            expires_ns=now_ns + _LIVES_NS,
            clock_error_ns=0,
            forecast=owed.forecast,
            reference=owed.reference,
            lineage=owed.lineage,
            source=Source(partition=0, offset=self._slots, epoch=0),
            stages=owed.stages,
            traceparent=owed.traceparent,
            epoch=self._epochs[partition],
            part=(1, 1),
            subscription_offset=0,
            projected_ns=now_ns,
            delivery_id=f"delivery-{self._slots}",
            tenant_id=TENANT,
            user_id=user,
            account_id="default",
            sequence=self.sequences[user],
            kind=Kind.ABSTAIN,
            direction=0,
            target_fraction=None,
            reason="benchmark",
            risk=Risk(tier="pro", scale=1.0),
        )
        return Record(user.encode(), encode(signal))


def _home(user: str) -> int:
    return partition_of(user.encode(), SIGNALS.partitions)
