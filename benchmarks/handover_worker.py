"""A member of a group in a process of its own, for `handover.py`: `KIND ADDRESS NAME USERS`.

`ours` is the shipped fan-out. The others are what a service does without claims: a plain consumer group
that consumes, projects, produces and commits, with the library's own session settings (`defaults`) or ours
(`same`).
SIGTERM ends each as politely as it can.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from random import SystemRandom
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import CommitFailedError

from benchmarks.child import commands, run, say
from benchmarks.crowd import strategy_of, subscriptions
from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import SIGNALS, partition_of
from models.metrics import MemoryMeter

SESSIONS_MS: Final = {"defaults": (10_000, 3_000), "same": (6_000, 300)}
"""Session and heartbeat of the plain groups, in milliseconds: aiokafka's own, and ours."""
_POLL_MS: Final = 200


def source(kind: str) -> str:
    """The topic that a plain group consumes."""
    return f"bench.{kind}.predictions"


def target(kind: str) -> str:
    """The topic that a group produces to."""
    return SIGNALS.name if kind == "ours" else f"bench.{kind}.signals"


class Plain:
    """Consumes predictions that were written once per partition, and sends a signal to each user there."""

    def __init__(self, kind: str, kafka: str, users: int) -> None:
        session_ms, heartbeat_ms = SESSIONS_MS[kind]
        self._target = target(kind)
        self._consumer = AIOKafkaConsumer(
            source(kind),
            bootstrap_servers=kafka,
            group_id=kind,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=session_ms,
            heartbeat_interval_ms=heartbeat_ms,
        )
        self._producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True)
        self._users: dict[int, list[str]] = defaultdict(list)
        for one in subscriptions(users):
            self._users[partition_of(one.user_id.encode(), SIGNALS.partitions)].append(one.user_id)
        self._stopping = False

    @property
    def ready(self) -> bool:
        return bool(self._consumer.assignment())

    async def run(self) -> None:
        """Until stopped."""
        await asyncio.gather(self._consumer.start(), self._producer.start())
        while not self._stopping:
            fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
            records = [record for batch in fetched.values() for record in batch]
            await asyncio.gather(*(self._project(record) for record in records))
            if records:
                with contextlib.suppress(CommitFailedError):  # thawed: others have its partitions now
                    await self._consumer.commit()
        await asyncio.gather(self._consumer.stop(), self._producer.stop())

    async def stop(self) -> None:
        """Finish what is in hand, commit it and leave the group."""
        self._stopping = True

    async def _project(self, record: Any) -> None:
        body, partition = orjson.loads(record.value), record.partition
        sent = [
            await self._producer.send(
                self._target,
                orjson.dumps({**body, "user_id": user}),
                key=user.encode(),
                partition=partition,
            )
            for user in self._users[partition]
        ]
        await asyncio.gather(*sent)


async def _ours(kafka: str, name: str, users: int) -> FanoutWorker:
    return FanoutWorker(
        await open_bus(KafkaConfig(bootstrap=kafka), client_id=name),
        [strategy_of(users)],
        clock=time.time_ns,
        rng=SystemRandom(),
        meter=MemoryMeter(),
        config=WorkerConfig(name=name),
    )


async def main() -> None:
    """Work until SIGTERM, or until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("ours", *SESSIONS_MS))
    parser.add_argument("kafka")
    parser.add_argument("name")
    parser.add_argument("users", type=int)
    asked = parser.parse_args()
    ours = asked.kind == "ours"
    worker: FanoutWorker | Plain = (
        await _ours(asked.kafka, asked.name, asked.users)
        if ours
        else Plain(asked.kind, asked.kafka, asked.users)
    )
    running = asyncio.create_task(worker.run())
    _on_term(worker.stop)
    while not (worker.ready or running.done()):
        await asyncio.wait({running}, timeout=0.05)
    say({"ready": True})
    leaving = asyncio.create_task(_closed())
    await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _on_term(stop: Callable[[], Awaitable[None]]) -> None:
    """Keeps the task that a signal starts."""
    tasks: list[asyncio.Future[None]] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: tasks.append(asyncio.ensure_future(stop())))


async def _closed() -> None:
    """Until the parent has closed the pipe."""
    async for _ in commands():
        pass


if __name__ == "__main__":
    run(main())
