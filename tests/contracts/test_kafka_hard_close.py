"""Pins the private parts of aiokafka that `messaging/kafka/hard_close.py` relies on: nothing is left of them.

That nothing old is delivered later is in the event bus contract, on a broker that keeps its log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaProducer

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.kafka.client import new_consumer, new_producer
from messaging.kafka.hard_close import kill_consumer, kill_producer
from serve_app.servers.bundled import tansu
from serve_app.servers.process import ServerProcess
from tests.support.eventually import eventually

pytestmark = pytest.mark.tansu
BOUND_S = 4.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A broker to be frozen."""
    server = tansu(tmp_path_factory.mktemp("tansu"))
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def topic(server: ServerProcess, unique: Callable[[str], str]) -> str:
    """A fresh topic."""
    bus = await open_bus(KafkaConfig.tansu(server.address), client_id="setup")
    name = unique("t")
    await bus.create_topic(name, partitions=1, policy={}, replication=1)
    await bus.close()
    return name


@contextmanager
def frozen(server: ServerProcess) -> Iterator[None]:
    """Thaws whatever happens."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


async def started(server: ServerProcess, topic: str) -> AIOKafkaProducer:
    """A producer with an open connection to the partition's leader."""
    producer = new_producer(KafkaConfig.tansu(server.address), "p")
    await producer.start()
    await producer.send_and_wait(topic, b"v", partition=0)
    return producer


async def test_a_killed_producer_leaves_no_task(server: ServerProcess, topic: str) -> None:
    """Neither the sender nor its request nor the metadata refresh lives on, though the broker is frozen."""
    before = asyncio.all_tasks()
    producer = await started(server, topic)
    with frozen(server):
        await producer.send(topic, b"old", partition=0)
        await eventually(lambda: len(asyncio.all_tasks() - before) >= 3)
        began = time.monotonic()
        await kill_producer(producer)

        assert time.monotonic() - began < BOUND_S
        assert asyncio.all_tasks() == before


async def test_a_stop_with_a_timeout_would_not_do(server: ServerProcess, topic: str) -> None:
    """The reason for all this: a cancelled stop() leaves a live sender. If this fails, it was repaired."""
    producer = await started(server, topic)
    with frozen(server):
        await producer.send(topic, b"old", partition=0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(producer.stop(), 0.3)
        await producer.stop()

        assert not producer._sender.sender_task.done()
        await kill_producer(producer)
        assert producer._sender.sender_task.done()


@pytest.mark.parametrize("group", [None, "hard-close"])
async def test_a_killed_consumer_leaves_no_task(server: ServerProcess, topic: str, group: str | None) -> None:
    """No fetch goes on, and no heartbeat keeps a dead member in its group."""
    before = asyncio.all_tasks()
    consumer = new_consumer(KafkaConfig.tansu(server.address), "c", group=group)
    if group:
        consumer.subscribe([topic])
    await consumer.start()
    with frozen(server):
        began = time.monotonic()
        await kill_consumer(consumer)

        assert time.monotonic() - began < BOUND_S
        assert asyncio.all_tasks() == before
