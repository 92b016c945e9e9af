"""A partition of `user.signals` in memory, written as an owner writes it, with its marks and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any, Final

import orjson

from messaging.memory import MemoryBus, MemoryLog
from messaging.ports import EventBus, Record
from messaging.topics import SIGNAL_STATE, SIGNALS, partition_of
from models.events import CHECKPOINT_KEY, CLAIM_KEY, MARK_EVERY, Checkpoint, SequenceMark, mark_key
from models.principal import Principal, Tier
from signals.encoding import encode
from tests.unit.signals.records import CLOSE_MS, signal_bytes

ALICE: Final = "alice"
TENANT: Final = "tenant"
PARTITION: Final = partition_of(ALICE.encode(), SIGNALS.partitions)
NEIGHBOURS: Final = [
    name
    for name in (f"u{n}" for n in range(2000))
    if partition_of(name.encode(), SIGNALS.partitions) == PARTITION
][:5]


class SignalLog:
    """The log; every write returns the offset of what it wrote."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self.log = MemoryLog(Random(1), clock=clock)
        for topic in (SIGNALS, SIGNAL_STATE):
            self.log.add_topic(topic.name, topic.partitions, topic.policy)
        self.epoch = -1
        self._bars = 0

    @property
    def bus(self) -> EventBus:
        return MemoryBus(self.log, "reader")

    def claim(self) -> int:
        """A new owner."""
        self.epoch = self._land(SIGNALS.name, Record(CLAIM_KEY, b"{}"))
        return self.epoch

    def signal(self, sequence: int, user: str = ALICE, *, epoch: int | None = None, **fields: Any) -> int:
        """A signal of the owner, for a bar of its own, and its mark if it is one that the fan-out marks."""
        self._bars += 1
        made = signal_bytes(
            close_ms=CLOSE_MS + self._bars * 10_000,
            user_id=user,
            sequence=sequence,
            epoch=self.epoch if epoch is None else epoch,
        )
        value = orjson.dumps({**orjson.loads(made), **fields}) if fields else made
        offset = self._land(SIGNALS.name, Record(user.encode(), value))
        if sequence % MARK_EVERY == 1 and epoch is None:
            self.mark(user, sequence, offset)
        return offset

    def mark(self, user: str, sequence: int, offset: int) -> int:
        """A mark, true or not."""
        mark = SequenceMark(user_id=user, sequence=sequence, offset=offset)
        return self._land(SIGNAL_STATE.name, Record(mark_key(user, sequence), encode(mark)))

    def forget_marks(self) -> None:
        """As a log that is older than marks."""
        self.log.partition(SIGNAL_STATE.name, PARTITION).records.clear()

    def checkpoint(self, *claims: int) -> int:
        """A checkpoint that names these claims."""
        made = Checkpoint(
            epoch=claims[-1],
            position=self.log.partition(SIGNALS.name, PARTITION).end,
            claims=claims,
            cursor={},
            sequences={},
            series=(),
            written_ns=1,
        )
        return self._land(SIGNAL_STATE.name, Record(CHECKPOINT_KEY, encode(made)))

    def expire_before(self, offset: int) -> None:
        """Retention."""
        self.log.partition(SIGNALS.name, PARTITION).truncate(offset)

    def _land(self, topic: str, record: Record) -> int:
        return self.log.partition(topic, PARTITION).land([record], self._clock() // 1_000_000)


def principal(user: str = ALICE, tenant: str = TENANT) -> Principal:
    """A caller."""
    return Principal(
        user_id=user,
        tenant_id=tenant,
        tier=Tier.PRO,
        roles=frozenset({"tenant:trader"}),
        entitled_until_ns=2**62,
    )
