"""`Broadcast` on core NATS: heard by who listens at that moment, kept nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from messaging.config import NatsConfig
from messaging.denials import Denials
from messaging.nats.wire import connect, translated
from models.errors import BrokerUnavailable
from models.metrics import Meter

_WAITING: Final = 1000
_CLOSE_S: Final = 2.0


class NatsBroadcast:
    """Owns one connection, made when it is first needed: nobody depends on NATS being there at the start."""

    def __init__(self, config: NatsConfig, name: str, meter: Meter | None = None) -> None:
        self._config = config
        self._name = name
        self._denials = Denials("nats", config.user, meter)
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def tell(self, subject: str, payload: bytes) -> None:
        """See `Broadcast.tell`. Raises BrokerUnavailable at once while disconnected."""
        client = await self._connected()
        async with translated(f"tell {subject}", self._denials):
            await client.publish(subject, payload)

    async def hear(self, subject: str) -> AsyncIterator[bytes]:
        """See `Broadcast.hear`. Of what nobody takes the newest is dropped, and so is what was published
        elsewhere: a JetStream consumer delivers to any subject that its maker names.
        """
        heard: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)

        async def note(message: Msg) -> None:
            if message.subject == subject and not heard.full():
                heard.put_nowait(message.data)

        client = await self._connected()
        async with translated(f"listen to {subject}", self._denials):
            subscription = await client.subscribe(subject, cb=note)
        try:
            while True:
                yield await heard.get()
        finally:
            if client.is_connected:
                async with translated(f"leave {subject}", self._denials), asyncio.timeout(_CLOSE_S):
                    await subscription.unsubscribe()

    async def close(self) -> None:
        """See `Broadcast.close`; bounded, whatever the server does."""
        client, self._client = self._client, None
        if client is not None:
            async with translated("close", self._denials), asyncio.timeout(_CLOSE_S):
                await client.close()

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await connect(
                    self._config, self._name, on_reconnect=_nothing, denials=self._denials
                )
        if not self._client.is_connected:
            raise BrokerUnavailable("NATS is not connected; what is told now would be heard by nobody")
        return self._client


async def _nothing() -> None:
    """nats-py subscribes again by itself."""
