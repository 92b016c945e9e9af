"""R24: after a halt is acknowledged nothing made 100 ms later asks for anything, with NATS away."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any

import orjson
import pytest

from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from messaging.config import KafkaConfig, NatsConfig
from messaging.connect import make_broadcast, open_bus
from messaging.ports import EventBus, Record
from messaging.topics import CONTROL, PREDICTIONS, SIGNALS, SUBSCRIPTIONS, create_topics, partition_of
from models.errors import ConfigError
from models.events import CLAIM_KEY
from models.halt import Halt, HaltScope, halt_key
from models.metrics import MemoryMeter
from models.strategy import Strategy
from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.ports import free_ports
from serve_app.servers.process import ServerProcess
from signals.encoding import encode
from tests.conftest import without_kafka
from tests.support.eventually import eventually
from tests.unit.signals.records import prediction, slot, subscription

STRATEGY = Strategy(name="alpha", version="1", symbols=("EURUSD",), bar_ms=10_000, horizon_ms=60_000)
USERS = [f"user-{number}" for number in range(50)]
EVERY_S = 0.02
OBEYED_NS = 100_000_000
SOURCE = partition_of(b"EURUSD", PREDICTIONS.partitions)


@pytest.fixture
async def kafka(tmp_path: Any) -> Any:
    """A broker of this test's own."""
    try:
        server: ServerProcess = apache_kafka(tmp_path)
    except ConfigError as error:
        without_kafka(error.message)
        raise
    server.start()
    await asyncio.to_thread(server.wait_ready)
    yield KafkaConfig(bootstrap=server.address)
    server.stop()


async def predict(bus: EventBus, count: int) -> None:
    """A runaway model: fifty slots a second, each asking all users for something."""
    producer = await bus.producer("model")
    epoch = await producer.append(PREDICTIONS.name, SOURCE, [Record(CLAIM_KEY, b"{}")], timeout_s=10)
    for number in range(count):
        now_ns = time.time_ns()
        times = {"generated_ns": now_ns, "expires_ns": now_ns + 10**10}
        owed = prediction(slot(10_000 * (number + 1)), epoch=epoch).model_copy(update=times)
        await producer.append(PREDICTIONS.name, SOURCE, [Record(b"EURUSD", encode(owed))], timeout_s=10)
        await asyncio.sleep(EVERY_S)  # the schedule of the model, not a wait for anything


class Lag:
    """How long this process was kept from its work at worst: that is the machine's doing, not the hub's."""

    def __init__(self) -> None:
        self.worst_ns = 0

    async def watch(self) -> None:
        while True:
            begun_ns = time.time_ns()
            await asyncio.sleep(0.001)
            self.worst_ns = max(self.worst_ns, time.time_ns() - begun_ns)


async def signals(bus: EventBus) -> list[dict[str, Any]]:
    """Every user's signals."""
    found = []
    for partition in range(SIGNALS.partitions):
        start, end = await bus.bounds(SIGNALS.name, partition)
        async for records in bus.read(SIGNALS.name, partition, start, end):
            found += [orjson.loads(one.value or b"") for one in records if not one.key.startswith(b"~")]
    return found


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_runaway_model_is_stopped_within_a_tenth_of_a_second(kafka: KafkaConfig) -> None:
    """By the log alone, since nobody answers at the NATS address; and goes on after it is resumed."""
    bus = await open_bus(kafka, client_id="runaway")
    await create_topics(bus, 1)
    users = await bus.producer("users")
    for user in USERS:
        one = subscription(user, entitled_until_ns=time.time_ns() * 2)
        home = partition_of(user.encode(), SUBSCRIPTIONS.partitions)
        await users.append(SUBSCRIPTIONS.name, home, [Record(one.key(), encode(one))], timeout_s=10)
    nowhere = NatsConfig(servers=(f"nats://127.0.0.1:{free_ports(1)[0]}",), request_timeout_s=0.5)
    worker = FanoutWorker(
        bus,
        [STRATEGY],
        clock=time.time_ns,
        rng=Random(1),
        meter=MemoryMeter(),
        config=WorkerConfig(name="w"),
        broadcast=make_broadcast(nowhere, name="w"),
    )
    running = asyncio.create_task(worker.run())
    await eventually(lambda: worker.ready, 60)
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    predicting = asyncio.create_task(predict(bus, 250))
    await eventually(lambda: worker.status()["counters"].get("signals", 0) > 500, 30)
    halt = Halt(scope=HaltScope.MODEL, id="ridge@1", reason="runaway", by="operator", at_ns=time.time_ns())
    await users.append(CONTROL.name, 0, [Record(halt.key(), encode(halt))], timeout_s=10)
    halted_ns = time.time_ns()
    before = worker.status()["counters"]["signals"]
    await eventually(lambda: worker.status()["counters"]["signals"] > before + 2_000, 30)
    resumed_ns = time.time_ns()
    await users.append(CONTROL.name, 0, [Record(halt_key(HaltScope.MODEL, "ridge@1"), None)], timeout_s=10)
    await predicting
    found = await signals(bus)
    for task in (running, watching):
        task.cancel()
    await asyncio.gather(running, watching, return_exceptions=True)
    await bus.close()

    obeyed_ns = halted_ns + OBEYED_NS + lag.worst_ns
    asked = [one["projected_ns"] for one in found if one["kind"] != "abstain"]
    during = [one for one in found if obeyed_ns < one["projected_ns"] < resumed_ns]
    assert [at for at in asked if obeyed_ns < at < resumed_ns] == []
    assert {tuple(one["risk"]["limits_hit"]) for one in during} == {("halt:model",)}
    assert min(asked) < halted_ns
    assert max(asked) > resumed_ns
