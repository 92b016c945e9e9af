"""The shipped fan-out worker in a process of its own, for `fanout.py`.

Told `take`, it answers with the times that the worker handed to its meter since the last time.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from random import SystemRandom

from benchmarks.child import commands, run, say
from benchmarks.crowd import strategy_of
from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from models.garbage import spare_collections_once


class Delivered:
    """A meter that keeps the times from tick to acknowledgement, one per slot and partition, in order."""

    def __init__(self) -> None:
        self.times_ms: list[float] = []

    def count(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
        """Not asked for."""

    def gauge(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Not asked for."""

    def observe(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Keep what `hub_stage_ms` says of the last stage."""
        if name == "hub_stage_ms" and labels["stage"] == "delivered":
            self.times_ms.append(value)

    def take(self) -> list[float]:
        """What came since the last call."""
        taken, self.times_ms = self.times_ms, []
        return taken


async def main() -> None:
    """Run one worker that owns all partitions, until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kafka")
    parser.add_argument("crowds", type=int, nargs="+")
    asked = parser.parse_args()
    bus, meter = await open_bus(KafkaConfig(bootstrap=asked.kafka), client_id="fanout"), Delivered()
    worker = FanoutWorker(
        bus,
        [strategy_of(users) for users in asked.crowds],
        clock=time.time_ns,
        rng=SystemRandom(),
        meter=meter,
        config=WorkerConfig(name="fanout"),
    )
    running = asyncio.create_task(worker.run())
    while not worker.ready:
        await asyncio.wait({running}, timeout=0.05)
    await spare_collections_once(lambda: worker.ready)
    say({"ready": True})
    async for _ in commands():
        say({"delivered_ms": meter.take(), "counters": worker.status()["counters"]})
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()


if __name__ == "__main__":
    run(main())
