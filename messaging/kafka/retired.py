"""Consumers that are no longer asked: ended in the background, so that nobody waits for a deaf broker."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from messaging.kafka.hard_close import kill_consumer


class Retired:
    """Owns a task for each until it is gone."""

    def __init__(self) -> None:
        self._ending: set[asyncio.Task[None]] = set()

    def add(self, *consumers: AIOKafkaConsumer) -> None:
        """End these."""
        for consumer in consumers:
            task = asyncio.get_running_loop().create_task(kill_consumer(consumer))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Wait until all are gone; bounded, whatever the broker does."""
        await asyncio.gather(*self._ending)
