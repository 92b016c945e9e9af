"""Reads `user.signals` once for all sockets of a replica, by the readers' rules.

All partitions are followed, from near the end on and without a group. Following only those that have sockets
would save little, since a hundred users already live in all of them, and every change would interrupt the
others. What is read of a user without a socket is kept for a while as it is; only what concerns a socket is
decoded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final, NoReturn

from deployments.front.user_signals import Found
from deployments.stream.recent import Recent
from deployments.stream.switchboard import Switchboard, mine
from messaging.claims import EpochFilter
from messaging.history import epochs_near_end
from messaging.ports import EventBus, LogRecord, Tail
from messaging.topics import SIGNALS, partition_of
from models.errors import MessagingError
from models.events import CLAIM_KEY, CONTROL_PREFIX, UNDELIVERED_KEY
from models.principal import Principal
from signals.reader import SignalRules, Verdict

_CONTROL: Final = frozenset({CLAIM_KEY, UNDELIVERED_KEY})
_IDLE_S: Final = 1.0
_TURN: Final = 200
"""Records looked at before other tasks get the loop: about two milliseconds if all of them are wanted."""
_BACK: Final = 1000
"""Records of each partition that are read when a replica starts, for the clients of the one before it."""
_KEPT: Final = 50_000
"""Records kept of all partitions, at about a kilobyte each."""
_ALIVE_S: Final = 5.0
"""A partition's owner beats every second; without a record for so long nobody can say that there is none."""


class Follower:
    """`run` is its one task. `ready` is set when it has come to where the log ended when it began."""

    def __init__(self, bus: EventBus, switchboard: Switchboard, *, rng: Random, retry_s: float = 1.0) -> None:
        self._bus = bus
        self._switchboard = switchboard
        self._rng = rng
        self._retry_s = retry_s
        self._positions: dict[int, int] = {}
        self._rules: dict[int, SignalRules] = {}
        self._ends: dict[int, int] = {}
        self._epochs: dict[int, EpochFilter] = {}
        self._heard_s: dict[int, float] = {}
        self._recent = Recent(_KEPT)
        self.ready: Final = asyncio.Event()
        self.verdicts: Counter[Verdict] = Counter()

    def position(self, partition: int) -> int:
        """Records at and after this offset are still to be handed out."""
        return self._positions[partition]

    def alive(self, partition: int) -> bool:
        """Whether the partition's owner, and the way from it to here, showed signs of life a moment ago."""
        heard_s = self._heard_s.get(partition, float("-inf"))
        return asyncio.get_running_loop().time() - heard_s < _ALIVE_S

    def recent(self, principal: Principal) -> list[Found]:
        """The user's valid signals among the last records, without a gap between them."""
        partition = partition_of(principal.user_id.encode(), SIGNALS.partitions)
        rules, found = SignalRules(self._epochs[partition]), []
        for record in self._recent.of(principal.user_id.encode()):
            reading = rules.take(record.offset, record.key, record.value, now_ns=None)
            if reading.verdict is Verdict.ACCEPTED and reading.head and mine(principal, reading.head):
                found.append(Found(record, reading.head))
        return found

    async def run(self) -> NoReturn:
        """Follow, through every outage of the broker."""
        while True:
            try:
                if not self._positions:
                    await self._start()
                await self._follow()
            except MessagingError:
                await asyncio.sleep(self._retry_s * (0.5 + self._rng.random()))

    async def _start(self) -> None:
        """Begin a little before the ends, knowing the claims before that."""
        self._positions = dict(await asyncio.gather(*map(self._open, range(SIGNALS.partitions))))

    async def _open(self, partition: int) -> tuple[int, int]:
        first, end = await self._bus.bounds(SIGNALS.name, partition)
        start = max(first, end - _BACK)
        self._epochs[partition] = await epochs_near_end(self._bus, partition, start)
        self._rules[partition], self._ends[partition] = SignalRules(self._epochs[partition]), end
        return partition, start

    async def _follow(self) -> None:
        tail = await self._bus.tail(SIGNALS.name, self._positions)
        try:
            while True:
                await self._take(await tail.batch(max_wait_s=_IDLE_S), tail)
        finally:
            await tail.close()

    async def _take(self, records: Sequence[LogRecord], tail: Tail) -> None:
        for start in range(0, len(records), _TURN):
            for record in records[start : start + _TURN]:
                self._judge(record)
            await asyncio.sleep(0)
        for partition in self._positions:
            self._positions[partition] = tail.position(partition)
        if not self.ready.is_set() and all(self._positions[p] >= end for p, end in self._ends.items()):
            self.ready.set()

    def _judge(self, record: LogRecord) -> None:
        self._positions[record.partition] = record.offset + 1
        self._heard_s[record.partition] = asyncio.get_running_loop().time()
        if not record.key.startswith(CONTROL_PREFIX):
            self._recent.keep(record)
            if not self._switchboard.wants(record.key):
                return
        elif record.key not in _CONTROL:
            return
        rules = self._rules[record.partition]
        reading = rules.take(record.offset, record.key, record.value, now_ns=None)
        self.verdicts[reading.verdict] += 1
        if reading.verdict is Verdict.ACCEPTED and reading.head:
            self._switchboard.hand(record, reading.head)
