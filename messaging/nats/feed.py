"""`MarketFeed` on NATS: ticks by core publish into a stream, bars guarded by the subject's last sequence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import BadRequestError

from messaging.config import NatsConfig
from messaging.denials import Denials
from messaging.nats.codec import decode_bar, decode_clock, decode_tick, encode
from messaging.nats.follower import StreamMessage, follow, open_reading
from messaging.nats.history import sequence_before
from messaging.nats.streams import ensure_streams
from messaging.nats.wire import connect, translated
from messaging.subjects import BARS_STREAM, CLOCK_SUBJECT, TICKS_STREAM, bar_subject, tick_subject
from models.errors import BadValue, BrokerUnavailable, StaleWriter
from models.market import Bar, MarketClock, Tick
from models.metrics import Meter

_LOG: Final = logging.getLogger(__name__)
_WRONG_LAST_SEQUENCE: Final = 10071
_CLOSE_S: Final = 2.0


class NatsFeed:
    """Owns one connection. `rejected` counts payloads that no tick or clock could be read from."""

    def __init__(self, config: NatsConfig, name: str, meter: Meter | None = None) -> None:
        self.rejected = 0
        self._config = config
        self._name = name
        self._denials = Denials("nats", config.user, meter)
        self._reads = True
        self._client: Client | None = None

    async def start(self, *, reads: bool = True) -> None:
        """Connect and, as a reader, see to the streams. Raises BrokerUnavailable, or TopicMismatch for a
        foreign stream.
        """
        self._reads = reads
        self._client = await connect(
            self._config, self._name, on_reconnect=self._reconnected, denials=self._denials
        )
        if reads:
            async with translated("create the market streams", self._denials):
                await ensure_streams(self._js)

    async def publish_tick(self, tick: Tick) -> None:
        """See `MarketFeed.publish_tick`. Raises BrokerUnavailable at once while disconnected."""
        await self.publish(tick_subject(tick.symbol), encode(tick))

    async def publish_clock(self, clock: MarketClock) -> None:
        """See `MarketFeed.publish_clock`."""
        await self.publish(CLOCK_SUBJECT, encode(clock))

    async def follow(
        self, symbols: Sequence[str], *, since_ms: int | None
    ) -> AsyncIterator[Tick | MarketClock]:
        """See `MarketFeed.follow`. "Now" is when the first item is asked for. What cannot be read is counted
        and left out.
        """
        symbol_of = {tick_subject(symbol): symbol for symbol in symbols}
        async with translated("follow the market", self._denials):
            after = await sequence_before(self._js, since_ms)
        messages = follow(
            self._connected, self._js, TICKS_STREAM, subjects=[*symbol_of, CLOCK_SUBJECT], after=after
        )
        async with translated("follow the market", self._denials), aclosing(messages):
            async for message in messages:
                item = self._read(message, symbol_of.get(message.subject))
                if item is not None and (since_ms is None or _market_ms(item) >= since_ms):
                    yield item

    async def put_bar(self, bar: Bar, *, after: int | None) -> int:
        """See `MarketFeed.put_bar`. At BrokerUnavailable read the bars to know if it was stored."""
        subject = bar_subject(bar.symbol, bar.bar_ms)
        headers = None if after is None else {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(after)}
        async with translated(f"store a bar on {subject}", self._denials):
            try:
                stored = await self._js.publish(subject, encode(bar), headers=headers)
            except BadRequestError as error:
                if error.err_code != _WRONG_LAST_SEQUENCE:
                    raise
                raise StaleWriter(
                    f"{subject} was written by another after {after}; read the bars again"
                ) from error
        return stored.seq

    async def bars(self, symbol: str, bar_ms: int, *, limit: int) -> tuple[list[Bar], int]:
        """See `MarketFeed.bars`."""
        subject = bar_subject(symbol, bar_ms)
        found: list[StreamMessage] = []
        async with translated(f"read the bars of {subject}", self._denials):
            reading = await open_reading(self._connected, self._js, BARS_STREAM, subjects=[subject], after=0)
            try:
                while len(found) < reading.pending:
                    message = await reading.next()
                    if message is None:
                        raise BrokerUnavailable(f"read the bars of {subject}: NATS fell silent; try again")
                    found.append(message)
            finally:
                await reading.close()
        return [decode_bar(message.data) for message in found[-limit:]], found[-1].sequence if found else 0

    async def publish(self, subject: str, payload: bytes) -> None:
        """See `MarketFeed.publish`."""
        async with translated(f"publish on {subject}", self._denials):
            await self._connected.publish(subject, payload)

    async def ping(self, *, timeout_s: float) -> None:
        """See `MarketFeed.ping`."""
        async with translated("ping", self._denials), asyncio.timeout(timeout_s):
            await self._connected.flush()
        if not self._connected.is_connected:  # then flush() has returned without having asked anybody
            raise BrokerUnavailable("ping: NATS is not connected")

    async def close(self) -> None:
        """Bounded, whatever the server does."""
        client, self._client = self._client, None
        if client is not None:
            async with translated("close", self._denials), asyncio.timeout(_CLOSE_S):
                await client.close()

    @property
    def _connected(self) -> Client:
        if self._client is None:
            raise BrokerUnavailable("the market feed is not started, or closed")
        return self._client

    @property
    def _js(self) -> JetStreamContext:
        return self._connected.jetstream(timeout=self._config.request_timeout_s)

    async def _reconnected(self) -> None:
        """A server that restarted has lost its streams in memory."""
        if not self._reads:
            return
        try:
            await ensure_streams(self._js)
        except (NatsError, TimeoutError) as error:
            _LOG.warning("NATS streams could not be checked after a reconnect: %r", error)

    def _read(self, message: StreamMessage, symbol: str | None) -> Tick | MarketClock | None:
        try:
            return decode_tick(message.data, symbol=symbol) if symbol else decode_clock(message.data)
        except BadValue as error:
            self._reject(message.subject, error)
            return None

    def _reject(self, subject: str, error: BadValue) -> None:
        """Count, and log at every power of two: a broken publisher must not fill the disk."""
        self.rejected += 1
        if self.rejected & (self.rejected - 1) == 0:
            _LOG.warning("%s: %s (%d rejected so far)", subject, error.message, self.rejected)


def _market_ms(item: Tick | MarketClock) -> int:
    return item.now_ms if isinstance(item, MarketClock) else item.ts_ms
