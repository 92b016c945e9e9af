"""What became of each routed request: at hand in the fast store, on record in `hub.decisions`.

Both are written in the background, some at a time, from bounded queues: a broker or a store that is slow or
away costs decisions (counted), never a request. Until it is in the store a decision is at hand here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Final

from messaging.ports import EventBus, Producer, Record
from messaging.topics import DECISIONS, partition_of
from models.decision import Decision
from models.errors import AppendUnknown, MessagingError, NotFound, StoreUnavailable
from models.metrics import Meter
from models.outcome import OutcomeRecord, RecordedDecision
from models.principal import Principal
from storage.ports import FastStore, Key

_LOG = logging.getLogger(__name__)

KEPT_S: Final = 86_400.0
QUEUE: Final = 10_000
BATCH: Final = 500
LINGER_S: Final = 0.05
"""How long decisions are collected before they are written together."""
APPEND_TIMEOUT_S: Final = 10.0
LAST_S: Final = 2.0
"""For how long a gateway that ends writes decisions."""
_KIND: Final = "decision"


class _Remembered:
    """A decision on its way to store and log; rendered once, when it is first written or asked for."""

    def __init__(self, owner: Principal, decision: Decision, outcome: OutcomeRecord | None) -> None:
        self.place = _place(owner, decision.decision_id)
        self._tenant = owner.tenant_id
        self._decision = decision
        self._outcome = outcome

    @cached_property
    def value(self) -> bytes:
        return RecordedDecision.encode(self._decision, self._outcome)

    @property
    def record(self) -> Record:
        headers = (("tenant-id", self._tenant.encode()),)
        return Record(self._decision.decision_id.encode(), self.value, headers)


class DecisionLog:
    """Remembers decisions for their callers. `run` is the one task that writes them."""

    def __init__(self, *, store: FastStore, bus: EventBus, meter: Meter) -> None:
        self._store = store
        self._bus = bus
        self._meter = meter
        self._unkept: dict[Key, _Remembered] = {}
        self._unlogged: deque[_Remembered] = deque()
        self._to_keep, self._to_log = asyncio.Event(), asyncio.Event()

    async def remember(
        self, owner: Principal, decision: Decision, outcome: OutcomeRecord | None = None
    ) -> None:
        """Make the decision readable by its owner and have it put on record, with what became of it if it was
        carried out. Neither fails nor waits.
        """
        made = _Remembered(owner, decision, outcome)
        if len(self._unkept) < QUEUE:
            self._unkept[made.place] = made
            self._to_keep.set()
        if len(self._unlogged) < QUEUE:
            self._unlogged.append(made)
            self._to_log.set()
        else:
            self._count("dropped", 1)

    async def recall(self, owner: Principal, decision_id: str) -> RecordedDecision:
        """A decision of the caller; NotFound, in the same words, for a foreign, absent or forgotten one."""
        place = _place(owner, decision_id)
        here = self._unkept.get(place)
        value = here.value if here else await self._store.get(place)
        if value is None:
            raise NotFound("you have no such decision, or it was forgotten")
        return RecordedDecision.from_record(value)

    async def run(self) -> None:
        """Write what is remembered, until cancelled; at the end store and log get what they still lack."""
        try:
            async with asyncio.TaskGroup() as writers:
                writers.create_task(self._keep())
                writers.create_task(self._log())
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Put in the store at once what it still lacks."""
        await self._kept(list(self._unkept.values()))

    async def _keep(self) -> None:
        while True:
            await _soon(self._to_keep)
            await self._kept(list(islice(self._unkept.values(), BATCH)))
            if self._unkept:
                self._to_keep.set()

    async def _kept(self, batch: Sequence[_Remembered]) -> None:
        """Put them in the store; one that is away costs them."""
        with contextlib.suppress(StoreUnavailable):
            await self._store.put_many([(made.place, made.value) for made in batch], ttl_s=KEPT_S)
        for made in batch:
            if self._unkept.get(made.place) is made:
                del self._unkept[made.place]

    async def _log(self) -> None:
        producer = await self._bus.producer("gateway-decisions")
        try:
            while True:
                await _soon(self._to_log)
                await self._logged(producer)
                if self._unlogged:
                    self._to_log.set()
        finally:
            await self._log_last(producer)
            await producer.close()

    async def _log_last(self, producer: Producer) -> None:
        """What was made until the end, as far as there is time for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                while self._unlogged:
                    await self._logged(producer)
        if self._unlogged:
            self._count("dropped", len(self._unlogged))

    async def _logged(self, producer: Producer) -> None:
        batch = [self._unlogged.popleft() for _ in range(min(len(self._unlogged), BATCH))]
        for partition, records in _by_partition(batch).items():
            await self._append(producer, partition, records)

    async def _append(self, producer: Producer, partition: int, records: Sequence[Record]) -> None:
        while records:
            fitting = records[: max(1, producer.fits(records))]
            self._count(await self._written(producer, partition, fitting), len(fitting))
            records = records[len(fitting) :]

    async def _written(self, producer: Producer, partition: int, records: Sequence[Record]) -> str:
        """The outcome of one append; a lost decision record is counted, not repeated."""
        try:
            await producer.append(DECISIONS.name, partition, records, timeout_s=APPEND_TIMEOUT_S)
        except AppendUnknown:
            await producer.rebuild()
            return "unknown"
        except MessagingError as error:
            _LOG.warning("decisions not recorded: %s", error.message)
            return "refused"
        return "ok"

    def _count(self, outcome: str, records: int) -> None:
        self._meter.count("hub_append_total", {"topic": DECISIONS.name, "outcome": outcome}, records)


def _place(owner: Principal, decision_id: str) -> Key:
    return Key(owner.tenant_id, _KIND, f"{owner.user_id}/{decision_id}")


async def _soon(some: asyncio.Event) -> None:
    """Wait until there is something to do, and for what comes soon after it."""
    await some.wait()
    some.clear()
    await asyncio.sleep(LINGER_S)


def _by_partition(batch: Sequence[_Remembered]) -> Mapping[int, Sequence[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for made in batch:
        record = made.record
        found[partition_of(record.key, DECISIONS.partitions)].append(record)
    return found
