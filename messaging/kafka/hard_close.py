"""Ending aiokafka clients now, whatever the broker does. The one place that touches aiokafka's private parts.

`AIOKafkaProducer.stop()` flushes first, so it hangs for as long as the broker is away; a cancelled `stop()`
leaves a live sender behind that delivers stale batches when the broker returns. `AIOKafkaConsumer.stop()`
waits for its coordinator, and a cancelled one leaves heartbeats behind that keep a dead member in its group.
`tests/contracts/test_kafka_hard_close.py` pins both for the aiokafka that is locked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

_BOUND_S = 2.0


async def kill_producer(producer: AIOKafkaProducer) -> None:
    """Nothing that has not left this process is sent after this returned. Futures of batches stay pending."""
    producer._closed = True  # noqa: SLF001 - a later stop() must not flush, nor the destructor complain
    await _cancel_tasks_of(producer._sender)  # noqa: SLF001 - the sender and its produce requests
    await _bounded(producer.client.close())


async def kill_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop politely (a member leaves its group), and by force if the broker does not play along."""
    if await _bounded(consumer.stop()):
        return
    for part in (consumer._coordinator, consumer._fetcher):  # noqa: SLF001 - the owners of heartbeats, fetches
        await _cancel_tasks_of(part)
    await _bounded(consumer._client.close())  # noqa: SLF001 - stop() does this last, and did not get there


async def _cancel_tasks_of(owner: Any) -> None:
    """Cancel the tasks that run a method of `owner`; aiokafka keeps no list of them."""
    tasks = [task for task in asyncio.all_tasks() if owner is not None and _runs_for(task) is owner]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_BOUND_S)


def _runs_for(task: asyncio.Task[Any]) -> Any:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame.f_locals.get("self") if frame else None


async def _bounded(closing: Coroutine[Any, Any, None]) -> bool:
    """Whether the coroutine came to its end in time. Its own cancellations inside are not ours."""
    task = asyncio.create_task(closing)
    await asyncio.wait({task}, timeout=_BOUND_S)
    if not task.done():
        task.cancel()
    return task.done() and not task.cancelled() and task.exception() is None
