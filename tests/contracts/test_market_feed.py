"""The market feed contract on the memory market and on a NATS server, and what only a wire shows."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nats as client
import orjson
import pytest
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from messaging.config import NatsConfig
from messaging.connect import open_feed
from messaging.memory import MemoryFeed, MemoryMarket, Process
from messaging.nats import NatsFeed
from messaging.ports import MarketFeed
from messaging.subjects import BARS_KEPT, BARS_STREAM, TICKS_STREAM
from models.errors import BrokerUnavailable, TopicMismatch
from models.market import Tick
from serve_app.servers.bundled import nats
from serve_app.servers.ports import free_ports
from serve_app.servers.process import ServerProcess
from signals.ticks import TickSequence
from tests.contracts.market_feed import (
    Item,
    MarketFeedContract,
    answers,
    bar,
    clock,
    following,
    refused,
    take,
    tick,
)
from tests.support.arrivals import next_arrival
from tests.support.eventually import eventually

KILLS = 50
BETWEEN_TICKS_S = 0.0005
CONTRACT = Path(__file__).parents[2] / "docs" / "nats-tick-contract.md"


class Memory(MemoryMarket):
    """A market whose server can go away."""

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self.stop()
        yield
        self.start()


class TestMemoryFeed(MarketFeedContract):
    """The double that simulations run on."""

    @pytest.fixture
    def market(self) -> Memory:
        return Memory(random.Random(1))

    @pytest.fixture
    def feed(self, market: Memory) -> MarketFeed:
        return MemoryFeed(market, Process("feed"))

    @pytest.fixture
    def other(self, market: Memory) -> MarketFeed:
        return MemoryFeed(market, Process("other"))


class Server:
    """A NATS server that belongs to these tests."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.config = NatsConfig(servers=(f"nats://{process.address}",), ping_interval_s=0.3)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Killed and started again: what lay in its memory is lost."""
        self.process.kill()
        yield
        self.process.start()
        await asyncio.to_thread(self.process.wait_ready)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """NATS, to be frozen and killed."""
    process = nats(tmp_path_factory.mktemp("nats"))
    process.start()
    try:
        process.wait_ready()
        yield Server(process)
    finally:
        process.stop()


@pytest.mark.nats
class TestNatsFeed(MarketFeedContract):
    """The real thing, with a stream that is empty at the beginning of each test."""

    @pytest.fixture
    async def market(self, server: Server) -> Server:
        connection = await client.connect(server.config.servers[0])
        with suppress(NotFoundError):
            await connection.jetstream().delete_stream(TICKS_STREAM)
        await connection.close()
        return server

    @pytest.fixture
    async def feed(self, market: Server) -> AsyncIterator[NatsFeed]:
        feed = NatsFeed(market.config, "feed")
        await feed.start()
        yield feed
        await feed.close()

    @pytest.fixture
    async def other(self, market: Server) -> AsyncIterator[NatsFeed]:
        feed = NatsFeed(market.config, "other")
        await feed.start()
        yield feed
        await feed.close()

    async def test_what_is_no_tick_is_counted_and_left_out(self, feed: NatsFeed, other: NatsFeed) -> None:
        """Broken JSON, impossible prices and a foreign symbol do not stop the stream, and are not hidden."""
        good = tick("EURUSD", 1)
        for payload in (
            b"{",
            b"[]",
            orjson.dumps(orjson.loads(orjson.dumps(good)) | {"bid": -1.0}),
            orjson.dumps(orjson.loads(orjson.dumps(good)) | {"ask": 1e999}),
            orjson.dumps(orjson.loads(orjson.dumps(good)) | {"seq": 0}),
            orjson.dumps(tick("NZDUSD", 1)),
            orjson.dumps(good),
        ):
            await feed.publish("hub.v1.market.EURUSD.tick", payload)
        async with following(other, ["EURUSD"], since_ms=0) as stream:
            assert await take(stream, 1) == [good]

        assert other.rejected == 6

    async def test_a_request_under_rpc_reaches_its_responder(self, market: Server, feed: NatsFeed) -> None:
        """No stream answers in its place, which one would on a subject that it keeps."""
        connection = await client.connect(market.config.servers[0])

        async def respond(message: Msg) -> None:
            await message.respond(b"1.2345")

        await connection.subscribe("rpc.market.price", cb=respond)
        answer = await connection.request("rpc.market.price", b"EURUSD", timeout=5)
        await connection.close()

        assert answer.data == b"1.2345"

    async def test_a_frozen_server_is_noticed(self, market: Server, feed: NatsFeed) -> None:
        """Silence without a closed connection: after two unanswered pings publishing raises."""
        market.process.freeze()
        try:

            async def noticed() -> bool:
                try:
                    await feed.publish_tick(tick("EURUSD", 1))
                except BrokerUnavailable:
                    return True
                return False

            await eventually(noticed, timeout_s=5)
        finally:
            market.process.thaw()
        await eventually(lambda: answers(feed))

    async def test_every_gap_is_counted(self, market: Server, feed: NatsFeed, other: NatsFeed) -> None:
        """Scorecard R15: with the server killed in mid-stream, what was numbered and did not come is what is
        counted as missing: one gap, nothing late and nothing twice.
        """
        came, seen = list[int](), TickSequence()
        async with following(other, ["EURUSD"], since_ms=0) as stream:
            publishing = asyncio.create_task(_numbered(feed))
            await _observe(stream, came, seen, more=200)
            async with market.away():
                await eventually(lambda: refused(feed))
            await _observe(stream, came, seen, more=200)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

        lost = sorted(set(range(1, came[-1] + 1)) - set(came))
        assert lost, "the server was back before a tick was missed, so this proved nothing"
        assert lost == list(range(lost[0], lost[-1] + 1))
        assert (seen.missing, seen.late, seen.duplicates) == (len(lost), 0, 0)

    async def test_a_slow_follower_loses_nothing(self, feed: NatsFeed, other: NatsFeed) -> None:
        """Thousands of ticks while nobody takes any: all arrive, once and in order."""
        async with following(other, ["EURUSD"], since_ms=0) as stream:
            await feed.publish_tick(tick("EURUSD", 1))
            await take(stream, 1)
            for seq in range(2, 5001):
                await feed.publish_tick(tick("EURUSD", seq))
            found = [item for item in await take(stream, 4999) if isinstance(item, Tick)]

        assert [item.seq for item in found] == list(range(2, 5001))

    async def test_a_stream_with_other_settings_is_refused(self, market: Server) -> None:
        """The hub neither works with it nor changes it; the error names the stream."""
        connection = await client.connect(market.config.servers[0])
        js = connection.jetstream()
        await js.add_stream(StreamConfig(name=TICKS_STREAM, subjects=["hub.v1.market.*.tick"]))
        with pytest.raises(TopicMismatch, match=TICKS_STREAM):
            await open_feed(market.config, name="x")
        await js.delete_stream(TICKS_STREAM)
        await connection.close()

    async def test_the_streams_are_as_the_contract_says(self, market: Server, feed: NatsFeed) -> None:
        """Ten minutes of ticks in memory, two windows of bars on disk: the units arrived as meant."""
        connection = await client.connect(market.config.servers[0])
        ticks = (await connection.jetstream().stream_info(TICKS_STREAM)).config
        bars = (await connection.jetstream().stream_info(BARS_STREAM)).config
        await connection.close()

        assert (ticks.max_age, ticks.storage, set(ticks.subjects or ())) == (
            600,
            "memory",
            {"hub.v1.market.*.tick", "hub.v1.market.clock"},
        )
        assert (bars.max_msgs_per_subject, bars.storage) == (512, "file")

    async def test_the_documented_publisher_works(
        self, market: Server, other: NatsFeed, tmp_path: Path
    ) -> None:
        """The example in docs/nats-tick-contract.md, run as it stands, is read without a rejection."""
        example = tmp_path / "publisher.py"
        example.write_text(_python_example(CONTRACT.read_text()))
        environment = {**os.environ, "NATS_URL": market.config.servers[0]}
        publisher = await asyncio.create_subprocess_exec(sys.executable, str(example), env=environment)
        assert await publisher.wait() == 0
        async with following(other, ["EURUSD"], since_ms=0) as stream:
            found = await take(stream, 4)

        assert [type(item).__name__ for item in found] == ["Tick", "Tick", "Tick", "MarketClock"]
        assert [item.seq for item in found if isinstance(item, Tick)] == [1, 2, 3]
        assert other.rejected == 0


async def test_a_feed_without_a_server_is_refused() -> None:
    """Opening says which address did not answer, within its timeout, and leaves nothing running."""
    (port,) = free_ports(1)
    before = asyncio.all_tasks()
    config = NatsConfig(servers=(f"nats://127.0.0.1:{port}",), request_timeout_s=0.5)
    with pytest.raises(BrokerUnavailable, match=str(port)):
        await open_feed(config, name="x")

    await eventually(lambda: asyncio.all_tasks() <= before)


async def test_memory_drops_ticks_when_told_to() -> None:
    """The fault that simulates a lost tick leaves the clock alone and shows as a gap."""
    market = MemoryMarket(random.Random(5))
    market.faults.drop_tick = 0.5
    feed = MemoryFeed(market, Process("p"))
    for seq in range(1, 101):
        await feed.publish_tick(tick("EURUSD", seq))
    await feed.publish_clock(clock(1000))
    async with following(feed, ["EURUSD"], since_ms=0) as stream:
        found = await take(stream, len(market.messages))

    assert 20 < len(found) < 80
    assert found[-1] == clock(1000)


def _python_example(markdown: str) -> str:
    found = re.search(r"```python\n(.*?)```", markdown, re.DOTALL)
    assert found, "the contract has no example"
    return found[1]


@pytest.mark.nats
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_what_was_acknowledged_survives_fifty_kills(tmp_path: Path) -> None:
    """Scorecard R16: the server is killed at a random moment while bars are stored; all it acknowledged are
    there afterwards.
    """
    process, rng = nats(tmp_path), random.Random(16)
    stored: dict[str, list[int]] = {}
    process.start()
    try:
        for number in range(KILLS):
            await asyncio.to_thread(process.wait_ready)
            symbol = f"KILLED{number:02}"
            stored[symbol] = await _stored_until_killed(process, symbol, after_s=rng.uniform(0, 0.1))
            process.start()
        await asyncio.to_thread(process.wait_ready)
        found = await _found(process, list(stored))
    finally:
        process.stop()

    lost = {symbol: set(acked) - found[symbol] for symbol, acked in stored.items()}
    assert sum(map(len, stored.values())) > 10 * KILLS
    assert not any(lost.values()), lost


async def _stored_until_killed(process: ServerProcess, symbol: str, *, after_s: float) -> list[int]:
    """The bars that were acknowledged before the server died."""
    config = NatsConfig(servers=(f"nats://{process.address}",), request_timeout_s=0.2)
    feed, acked, last = NatsFeed(config, "writer"), [], 0
    await feed.start()
    asyncio.get_running_loop().call_later(after_s, process.kill)
    try:
        for close_ms in itertools.count(1000, 1000):
            last = await feed.put_bar(bar(symbol, close_ms), after=last)
            acked.append(close_ms)
    except BrokerUnavailable:
        return acked[-BARS_KEPT:]
    finally:
        await feed.close()
    raise AssertionError("the server was never killed")


async def _numbered(feed: NatsFeed) -> None:
    """Send ticks on and on; a number that could not be sent is gone."""
    for number in itertools.count(1):
        with suppress(BrokerUnavailable):
            await feed.publish_tick(tick("EURUSD", number))
        await next_arrival(1 / BETWEEN_TICKS_S)


async def _observe(stream: AsyncIterator[Item], came: list[int], seen: TickSequence, *, more: int) -> None:
    for item in await take(stream, more):
        assert isinstance(item, Tick)
        came.append(item.seq)
        seen.observe(item.session, item.seq)


async def _found(process: ServerProcess, symbols: list[str]) -> dict[str, set[int]]:
    feed = NatsFeed(Server(process).config, "reader")
    await feed.start()
    try:
        read = {symbol: await feed.bars(symbol, 1000, limit=BARS_KEPT + 1) for symbol in symbols}
    finally:
        await feed.close()
    return {symbol: {one.close_ms for one in bars} for symbol, (bars, _) in read.items()}
