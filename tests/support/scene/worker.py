"""A forecaster or a fan-out as a process, without Ray: `python -m tests.support.scene.worker ROLE NAME ...`.

SIGTERM hands over, as Serve does with a replica. Four times a second it writes what it would tell an operator
(readiness, metrics) as a line of JSON into `NAME.seen`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import NoReturn

import orjson

from deployments.fanout.config import WorkerConfig as FanoutConfig
from deployments.fanout.worker import FanoutWorker
from deployments.forecaster.config import WorkerConfig as ForecastConfig
from deployments.forecaster.worker import ForecastWorker
from messaging.config import KafkaConfig, NatsConfig
from messaging.connect import open_bus, open_feed
from messaging.ports import EventBus
from models.metrics import MemoryMeter
from models.strategy import load_strategies

SEEN_EVERY_S = 0.25


async def main(asked: argparse.Namespace) -> None:
    """Work until SIGTERM, or until the worker fails."""
    meter = MemoryMeter()
    bus = await open_bus(KafkaConfig(bootstrap=asked.kafka), client_id=asked.name)
    worker = await _worker(asked, bus, meter)
    running = asyncio.create_task(worker.run())
    telling = asyncio.create_task(_tell(worker, meter, asked.seen))
    stopping: list[asyncio.Task[None]] = []
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: stopping.append(asyncio.create_task(worker.stop()))
    )
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        telling.cancel()
        await bus.close()


async def _worker(
    asked: argparse.Namespace, bus: EventBus, meter: MemoryMeter
) -> FanoutWorker | ForecastWorker:
    strategies = load_strategies(asked.strategies.read_text())
    if asked.role == "fanout":
        fanout = FanoutConfig(name=asked.name)
        return FanoutWorker(
            bus, strategies, clock=time.time_ns, rng=SystemRandom(), meter=meter, config=fanout
        )
    from tests.support.scene.local_router import local_router  # noqa: PLC0415 - it imports Ray, for seconds

    feed = await open_feed(NatsConfig(servers=(asked.nats,)), name=asked.name)
    return ForecastWorker(
        bus,
        feed,
        await local_router(meter),
        strategies,
        clock=time.time_ns,
        rng=SystemRandom(),
        meter=meter,
        config=ForecastConfig(name=asked.name),
    )


async def _tell(worker: FanoutWorker | ForecastWorker, meter: MemoryMeter, file: Path) -> NoReturn:
    with file.open("ab", buffering=0) as seen:
        while True:
            metrics = [(name, dict(labels), value) for (name, labels), value in meter.values.items()]
            state = {"at_ns": time.time_ns(), "ready": worker.ready, "down_s": worker.down_s()}
            seen.write(orjson.dumps({**state, "metrics": metrics}) + b"\n")
            await asyncio.sleep(SEEN_EVERY_S)


@dataclass(frozen=True)
class Wires:
    """Where a worker finds everything."""

    kafka: str
    nats: str
    strategies: Path

    def arguments(self) -> list[str]:
        return ["--kafka", self.kafka, "--nats", self.nats, "--strategies", str(self.strategies)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("fanout", "forecaster"))
    parser.add_argument("name")
    parser.add_argument("--seen", type=Path, required=True)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--strategies", type=Path, required=True)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main(parser.parse_args()))
