"""The least that could deliver the same frames: a plain WebSocket server and one aiokafka consumer.

No tokens, no rules, no resume, no bounds: whoever names a user in the address gets that user's records.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.child import commands, run, say
from messaging.topics import SIGNALS


class PlainServer:
    """Sockets by the key of their user's records."""

    def __init__(self) -> None:
        self._sockets: defaultdict[bytes, set[ServerConnection]] = defaultdict(set)

    async def hold(self, socket: ServerConnection) -> None:
        """One connection, until it closes."""
        assert socket.request is not None  # noqa: S101 - it is open
        mine = self._sockets[socket.request.path.rpartition("user=")[2].encode()]
        mine.add(socket)
        try:
            await socket.wait_closed()
        finally:
            mine.discard(socket)

    async def deliver(self, consumer: AIOKafkaConsumer) -> None:
        """Every record to its user's sockets."""
        async for record in consumer:
            for socket in self._sockets.get(record.key, ()):
                await socket.send(record.value.decode())


async def main() -> None:
    """Serve until the parent closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kafka")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=parser.parse_args().kafka, fetch_max_wait_ms=50, auto_offset_reset="latest"
    )
    await consumer.start()
    consumer.assign([TopicPartition(SIGNALS.name, partition) for partition in range(SIGNALS.partitions)])
    await consumer.seek_to_end()
    server = PlainServer()
    delivering = asyncio.create_task(server.deliver(consumer))
    async with serve(server.hold, "127.0.0.1", 0, compression=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        say({"url": f"ws://127.0.0.1:{port}/"})
        async for _ in commands():
            say({})
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    await consumer.stop()


if __name__ == "__main__":
    run(main())
