"""A fan-out worker as a process of its own, without Ray: `python -m tests.chaos.fanout_process ADDRESS NAME`.

SIGTERM hands its users over.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from random import SystemRandom
from typing import Final

from deployments.fanout.config import WorkerConfig
from deployments.fanout.worker import FanoutWorker
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from models.metrics import MemoryMeter
from models.strategy import Strategy

STRATEGY: Final = Strategy(name="alpha", version="1", symbols=("EURUSD",), bar_ms=10_000, horizon_ms=60_000)


async def main(address: str, name: str) -> None:
    """Work until SIGTERM."""
    bus = await open_bus(KafkaConfig(bootstrap=address), client_id=name)
    worker = FanoutWorker(
        bus,
        [STRATEGY],
        clock=time.time_ns,
        rng=SystemRandom(),
        meter=MemoryMeter(),
        config=WorkerConfig(name=name),
    )
    running = asyncio.create_task(worker.run())
    stopping: list[asyncio.Task[None]] = []
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: stopping.append(asyncio.create_task(worker.stop()))
    )
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
