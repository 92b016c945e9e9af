"""What every `Broadcast` must do, in memory and on a NATS server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from messaging.config import NatsConfig
from messaging.connect import make_broadcast
from messaging.memory import MemoryBroadcast, MemoryMarket, Process
from messaging.ports import Broadcast
from models.errors import BrokerUnavailable
from serve_app.servers.bundled import nats
from serve_app.servers.process import ServerProcess
from tests.support.eventually import eventually

SUBJECT = "hub.v1.control.halt"


class Server:
    """Something that can go away."""

    def away(self) -> None: ...

    def back(self) -> None: ...


class Listener:
    """What one task hears."""

    def __init__(self, broadcast: Broadcast) -> None:
        self.heard: list[bytes] = []
        self.task = asyncio.create_task(self._listen(broadcast))

    def heard_all(self) -> bool:
        return b"19" in self.heard

    async def _listen(self, broadcast: Broadcast) -> None:
        async with aclosing(broadcast.hear(SUBJECT)) as told:  # type: ignore[type-var]
            async for payload in told:
                self.heard.append(payload)


async def told_until_heard(broadcast: Broadcast, listener: Listener, payload: bytes) -> None:
    """Tell it again until it was heard: nobody knows when a listener is there."""

    async def tell() -> bool:
        return await _tells(broadcast, payload) and payload in listener.heard

    await eventually(tell, timeout_s=20)


class BroadcastContract:
    """Subclasses give the fixtures `server`, `one` and `other` on it."""

    async def test_who_listens_hears_what_others_tell(self, one: Broadcast, other: Broadcast) -> None:
        """All of them, in the order it was told."""
        listeners = [Listener(one), Listener(other)]
        for listener in listeners:
            await told_until_heard(other, listener, b"there?")
        for number in range(20):
            await one.tell(SUBJECT, b"%d" % number)
        for listener in listeners:
            await eventually(listener.heard_all)
            listener.task.cancel()

        wanted = [b"%d" % number for number in range(20)]
        assert [[p for p in listener.heard if p != b"there?"] for listener in listeners] == [wanted] * 2

    async def test_telling_nobody_is_said_at_once(self, server: Server, one: Broadcast) -> None:
        """A halt that nobody can hear must not look as if it had been told."""
        await one.tell(SUBJECT, b"connected")
        server.away()

        async def refused() -> bool:
            return not await _tells(one)

        await eventually(refused, timeout_s=10)
        server.back()

    async def test_a_listener_outlives_an_outage(
        self, server: Server, one: Broadcast, other: Broadcast
    ) -> None:
        """It misses what is told meanwhile, and hears what comes after."""
        listener = Listener(one)
        await told_until_heard(other, listener, b"before")
        server.away()
        server.back()
        await told_until_heard(other, listener, b"after")
        listener.task.cancel()


class MemoryServer(Server):
    """The double's."""

    def __init__(self) -> None:
        self.market = MemoryMarket(random.Random(1))

    def away(self) -> None:
        self.market.stop()

    def back(self) -> None:
        self.market.start()


class TestMemoryBroadcast(BroadcastContract):
    """The double that simulations run on."""

    @pytest.fixture
    def server(self) -> MemoryServer:
        return MemoryServer()

    @pytest.fixture
    def one(self, server: MemoryServer) -> Broadcast:
        return MemoryBroadcast(server.market, Process("one"))

    @pytest.fixture
    def other(self, server: MemoryServer) -> Broadcast:
        return MemoryBroadcast(server.market, Process("other"))


class NatsServer(Server):
    """A process that is killed."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process

    def away(self) -> None:
        self.process.kill()

    def back(self) -> None:
        self.process.start()
        self.process.wait_ready()


@pytest.mark.nats
class TestNatsBroadcast(BroadcastContract):
    """The wire."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[NatsServer]:
        process = nats(tmp_path)
        process.start()
        process.wait_ready()
        yield NatsServer(process)
        process.stop()

    @pytest.fixture
    async def one(self, server: NatsServer) -> AsyncIterator[Broadcast]:
        async for broadcast in _connected(server, "one"):
            yield broadcast

    @pytest.fixture
    async def other(self, server: NatsServer) -> AsyncIterator[Broadcast]:
        async for broadcast in _connected(server, "other"):
            yield broadcast


async def _connected(server: NatsServer, name: str) -> AsyncIterator[Broadcast]:
    config = NatsConfig(servers=(f"nats://{server.process.address}",), ping_interval_s=0.3)
    broadcast = make_broadcast(config, name=name)
    yield broadcast
    await broadcast.close()


async def _tells(broadcast: Broadcast, payload: bytes = b"again") -> bool:
    try:
        await broadcast.tell(SUBJECT, payload)
    except BrokerUnavailable:
        return False
    return True
