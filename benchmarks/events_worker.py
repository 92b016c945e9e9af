"""Saves user events in an open loop, in a process of its own, for `events.py`: by the hub, or by a peer.

Told a rate and seconds, it starts that many saves on a fixed schedule, whatever becomes of the earlier ones,
and answers with the time of each from its place in the schedule to its acknowledgement.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from benchmarks.child import commands, run, say
from benchmarks.fanout_peers import BATCH_BYTES
from deployments.gateway.event_intake import NewEvent, checked_event, encoded
from deployments.gateway.user_events import UserEvents
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.event_marks import EventMarks
from messaging.publisher import Publisher
from models.errors import HubError
from models.garbage import spare_collections
from models.metrics import MemoryMeter
from models.principal import Principal, Tier
from models.user_event import EVENT_KINDS, DataType

USERS: Final = 5_000
TENANTS: Final = 20
STEP_S: Final = 0.002
"""Saves are started so often, those of one step together; each counts from its own place in the schedule."""
_PATIENCE_S: Final = 15.0
BODY: Final[dict[str, Any]] = {
    "account_id": "default",
    "command_id": "c-1",
    "symbol": "EURUSD.pro",
    "side": "buy",
    "volume": 0.1,
    "stop_loss": 1.0812,
    "take_profit": 1.0955,
}


class Way(ABC):
    """How one event is saved."""

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def save(self, principal: Principal) -> None:
        """Return when the event is acknowledged."""

    @abstractmethod
    async def close(self) -> None: ...


class Hub(Way):
    """The shipped `UserEvents`, as a route of the gateway calls it."""

    def __init__(self, kafka: str) -> None:
        self._config = KafkaConfig(bootstrap=kafka)

    async def open(self) -> None:
        self._bus = await open_bus(self._config, client_id="hub")
        self._publisher = await Publisher.open(self._bus, name="hub", meter=MemoryMeter())
        self._events = UserEvents(
            self._bus,
            self._publisher,
            EventMarks(self._bus),
            clock=time.time_ns,
            rng=Random(1),
            meter=MemoryMeter(),
        )

    async def save(self, principal: Principal) -> None:
        new = NewEvent(type="place_order", body=BODY)
        await self._events.save_user_event(principal, DataType.COMMANDS, new)

    async def close(self) -> None:
        await self._publisher.close()
        await self._bus.close()


class Aiokafka(Way):
    """aiokafka's `send_and_wait` per event with the same settings; events are made and checked as ours."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._rng = Random(1)

    async def open(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
        )
        await self._producer.start()

    async def save(self, principal: Principal) -> None:
        new = NewEvent(type="place_order", body=BODY)
        event = checked_event(principal, DataType.COMMANDS, new, now_ns=time.time_ns(), rng=self._rng)
        kind = EVENT_KINDS[DataType.COMMANDS]
        await self._producer.send_and_wait(kind.topic, encoded(event), key=kind.key(event))

    async def close(self) -> None:
        await self._producer.stop()


class Load:
    """One run of the schedule."""

    def __init__(self, way: Way, users: Sequence[Principal]) -> None:
        self._way = way
        self._users = users
        self._times_ms = array("d")
        self._failed: dict[str, int] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, rate: float, seconds: float) -> dict[str, Any]:
        """Start all saves on time, wait for the last, and tell what came of them."""
        begun_s, started, rng = time.perf_counter(), 0, Random(2)
        while (now_s := time.perf_counter() - begun_s) < seconds:
            due = int(now_s * rate)
            for number in range(started, due):
                self._start(rng.choice(self._users), begun_s + number / rate)
            started = due
            await asyncio.sleep(STEP_S)
        if self._running:
            await asyncio.wait(self._running, timeout=_PATIENCE_S)
        return {
            "ms": list(self._times_ms),
            "elapsed_s": time.perf_counter() - begun_s,
            "failed": self._failed,
        }

    def _start(self, user: Principal, due_s: float) -> None:
        task = asyncio.create_task(self._save(user, due_s))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _save(self, user: Principal, due_s: float) -> None:
        try:
            await self._way.save(user)
        except HubError as error:
            self._failed[error.code] = self._failed.get(error.code, 0) + 1
        else:
            self._times_ms.append((time.perf_counter() - due_s) * 1e3)


def users() -> list[Principal]:
    """Users of several tenants."""
    return [
        Principal(
            user_id=f"user-{number}",
            tenant_id=f"tenant-{number % TENANTS}",
            tier=Tier.PRO,
            roles=frozenset({"tenant:trader"}),
            entitled_until_ns=2**62,
        )
        for number in range(USERS)
    ]


async def main() -> None:
    """Save when told to, until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kafka")
    parser.add_argument("way", choices=("hub", "aiokafka"))
    asked = parser.parse_args()
    way: Way = Hub(asked.kafka) if asked.way == "hub" else Aiokafka(asked.kafka)
    await way.open()
    everybody = users()
    spare_collections()
    say({"ready": True})
    async for command in commands():
        rate, seconds = map(float, command.split())
        say(await Load(way, everybody).run(rate, seconds))
    await way.close()


if __name__ == "__main__":
    run(main())
