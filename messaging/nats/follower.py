"""Reading a JetStream stream in order and without loss, across reconnects, slow moments and server restarts.

A push consumer without acknowledgements counts its deliveries. The first delivery that is not the expected
one, or silence where at least a heartbeat was due, ends the consumer, and another one starts after the last
message that was seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError, ServerError, ServiceUnavailableError

from messaging.nats.wire import cancellable

_HEARTBEAT_S: Final = 1.0
_SILENCE_S: Final = 2.5
_RETRY_S: Final = 0.25
_UNUSED_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """A message with its sequence in the stream."""

    sequence: int
    subject: str
    data: bytes


class Reading:
    """One push consumer, bound to a subscription of its own."""

    def __init__(self, subscription: Subscription, queue: asyncio.Queue[Msg], pending: int) -> None:
        self.pending = pending
        self._subscription = subscription
        self._queue = queue
        self._delivered = 0

    async def next(self) -> StreamMessage | None:
        """The next message; None if the reading is broken and must be opened again."""
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    message = await self._queue.get()
            except TimeoutError:
                return None
            if message.reply:
                return self._checked(message)

    async def close(self) -> None:
        """Give the subscription back; the server removes the consumer, which nobody listens to any more."""
        try:
            await self._subscription.unsubscribe()
        except NatsError:
            return

    def _checked(self, message: Msg) -> StreamMessage | None:
        self._delivered += 1
        sequence = message.metadata.sequence
        if sequence.consumer != self._delivered:
            return None
        return StreamMessage(sequence.stream, message.subject, message.data)


async def open_reading(
    client: Client, js: JetStreamContext, stream: str, *, subjects: Sequence[str], after: int
) -> Reading:
    """Start to read the stream's messages on the subjects, those later than sequence `after`.

    A stream that ends before `after` is another one than was read before, so it is read from its beginning.
    """
    state = (await js.stream_info(stream)).state
    start = after + 1 if after <= state.last_seq else 1
    queue: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=queue.put)
    try:
        consumer = await js.add_consumer(
            stream,
            ConsumerConfig(
                deliver_subject=inbox,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=start,
                filter_subjects=list(subjects),
                ack_policy=AckPolicy.NONE,
                max_deliver=1,
                mem_storage=True,
                idle_heartbeat=_HEARTBEAT_S,
                inactive_threshold=_UNUSED_S,
            ),
        )
    except BaseException:
        await subscription.unsubscribe()
        raise
    return Reading(subscription, queue, consumer.num_pending or 0)


async def follow(
    client: Client, js: JetStreamContext, stream: str, *, subjects: Sequence[str], after: int
) -> AsyncGenerator[StreamMessage, None]:
    """Messages later than sequence `after`, for ever. What the stream has already dropped is missing."""
    while True:
        try:
            async with cancellable():
                reading = await open_reading(client, js, stream, subjects=subjects, after=after)
        except (NatsError, TimeoutError) as error:
            if _is_final(error):
                raise
            await asyncio.sleep(_RETRY_S)
            continue
        try:
            while (message := await reading.next()) is not None:
                after = message.sequence
                yield message
        finally:
            await reading.close()


def _is_final(error: Exception) -> bool:
    """Whether the server understood and refused. A missing stream is made again after a server's restart."""
    return isinstance(error, APIError) and not isinstance(
        error, (NotFoundError, ServerError, ServiceUnavailableError)
    )
