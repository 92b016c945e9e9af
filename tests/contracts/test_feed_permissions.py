"""nats-server with the printed accounts: every principal tries every subject and JetStream request.

Scorecard row S12. What is denied is denied by the server, is counted, and is named in the error.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import nats
import pytest
from nats.aio.client import Client

from messaging.config import NatsConfig
from messaging.connect import make_broadcast, open_feed
from messaging.nats.permissions import inbox_of, permissions_of
from messaging.principals import COLLECTOR, OPERATOR, PRINCIPALS, ROOMS, Access
from messaging.subjects import (
    BARS_STREAM,
    CLOCK_SUBJECT,
    HALT_SUBJECT,
    TICKS_STREAM,
    bar_subject,
    tick_subject,
)
from models.errors import AccessDenied, BrokerUnavailable, ConfigError
from models.market import Bar, MarketClock, Tick
from models.metrics import MemoryMeter
from serve_app.permissions import as_nats_accounts
from tests.support.certificate import Certificate
from tests.support.eventually import eventually
from tests.support.permitted_nats import PermittedNats, permitted_nats

pytestmark = pytest.mark.nats

ON_NATS = [access for access in PRINCIPALS if access.market]
TICK, BARS = tick_subject("EURUSD"), bar_subject("EURUSD", 10_000)
SUBJECTS = (TICK, BARS, CLOCK_SUBJECT, HALT_SUBJECT, "hub.v1.health.fanout", "rpc.market.price", "payroll")
SILENT = {"request_timeout_s": 2.0}
"""Where the server refuses at once, and a client waits or tries again until this is over."""
REQUESTS = tuple(
    f"$JS.API.{request}.{stream}"
    for stream in (TICKS_STREAM, BARS_STREAM, "PAYROLL")
    for request in (
        "STREAM.CREATE",
        "STREAM.INFO",
        "STREAM.UPDATE",
        "STREAM.DELETE",
        "STREAM.PURGE",
        "STREAM.MSG.GET",
        "STREAM.MSG.DELETE",
        "CONSUMER.CREATE",
        "CONSUMER.LIST",
        "DIRECT.GET",
    )
)
ELSEWHERE = ("$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.ACK.HUB_TICKS.c.1.1.1.1.1", "$SYS.REQ.SERVER.PING")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PermittedNats]:
    """The server, with the streams that its first user makes."""
    directory = tmp_path_factory.mktemp("permitted")
    permitted = permitted_nats(directory, Certificate(directory))
    permitted.server.start()
    try:
        permitted.server.wait_ready()
        asyncio.run(_opened_once(permitted))
        yield permitted
    finally:
        permitted.server.stop()


async def _opened_once(server: PermittedNats) -> None:
    await (await open_feed(server.config(ROOMS["gateway"].principal), name="first")).close()


@asynccontextmanager
async def logged_in(server: PermittedNats, access: Access) -> AsyncIterator[tuple[Client, list[str]]]:
    """A connection as this principal, and what the server denied it."""
    config, denied = server.config(access.principal), list[str]()

    async def note(error: Exception) -> None:
        denied.append(str(error).lower())

    assert config.password is not None
    client = await nats.connect(
        list(config.servers),
        user=access.principal,
        password=config.password.resolve(),
        tls=server.certificate.context(),
        error_cb=note,
        inbox_prefix=inbox_of(access.principal),
    )
    try:
        yield client, denied
    finally:
        await client.close()


def _matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and _matches(
            ".".join(wanted[:-1]), ".".join(given[: len(wanted) - 1])
        )
    return len(wanted) == len(given) and all(a in {"*", b} for a, b in zip(wanted, given, strict=True))


@pytest.mark.parametrize("access", ON_NATS, ids=lambda access: access.principal)
class TestEachPrincipal:
    """Against every subject and every kind of request to JetStream."""

    async def test_publishes_what_the_table_says(self, server: PermittedNats, access: Access) -> None:
        """The server names every other subject in its refusal."""
        allowed, tried = _allowed(access)[0], (*SUBJECTS, *REQUESTS, *ELSEWHERE)
        async with logged_in(server, access) as (client, denied):
            for subject in tried:
                await client.publish(subject, b"{}")
            await _refused(denied, _others(tried, allowed))

    async def test_hears_what_the_table_says(self, server: PermittedNats, access: Access) -> None:
        """Its own inboxes and nobody else's, no wildcard over them all; a queue group opens no more."""
        inboxes = tuple(f"{inbox_of(other.principal)}.x" for other in ON_NATS)
        allowed, tried = _allowed(access)[1], (*SUBJECTS, *inboxes, "_INBOX.x", "$JS.API.>", ">", "hub.v1.>")
        async with logged_in(server, access) as (client, denied):
            for subject in tried:
                await client.subscribe(subject)
                await client.subscribe(subject, queue="hub")
            await _refused(denied, [*_others(tried, allowed)] * 2)


def _others(tried: Iterable[str], allowed: Iterable[str]) -> list[str]:
    return [subject for subject in tried if not any(_matches(pattern, subject) for pattern in allowed)]


async def _refused(denied: list[str], expected: Iterable[str]) -> None:
    """Wait until the server has refused exactly these: its word on each names the subject first in quotes."""

    def check() -> bool:
        found = sorted(text.split('"')[1] for text in denied)
        assert found == sorted(subject.lower() for subject in expected)
        return True

    await eventually(check)


def _allowed(access: Access) -> tuple[tuple[str, ...], tuple[str, ...]]:
    permissions = permissions_of(access)
    assert permissions is not None
    return permissions.publish, permissions.subscribe


async def test_the_feed_works_for_all_who_open_it(server: PermittedNats) -> None:
    """The collector seeds and sends; forecaster and gateway read, and the forecaster stores bars."""
    meter = MemoryMeter()
    names = (COLLECTOR.principal, ROOMS["forecaster"].principal, ROOMS["gateway"].principal)
    collector, forecaster, gateway = [
        await open_feed(server.config(name), name=name, meter=meter, reads=name != COLLECTOR.principal)
        for name in names
    ]
    bar = Bar("NZDUSD", 10_000, 20_000, 1.0, 1.0, 1.0, 1.0, 1e-4, 1)
    await collector.put_bar(bar, after=None)
    (read,), last = await forecaster.bars("NZDUSD", 10_000, limit=9)
    await forecaster.put_bar(bar, after=last)
    stored, _ = await gateway.bars("NZDUSD", 10_000, limit=9)
    await collector.publish_tick(Tick("NZDUSD", 5, 1.0, 1.1, 1, "s", 1))
    await collector.publish_clock(MarketClock(10, "s", 2, {"NZDUSD": 1}))
    items = forecaster.follow(["NZDUSD"], since_ms=0)
    async with asyncio.timeout(20):
        found = [await anext(items), await anext(items)]

    assert (read, stored) == (bar, [bar, bar])
    assert [type(item) for item in found] == [Tick, MarketClock]
    assert meter.values == {}
    for feed in (collector, forecaster, gateway):
        await feed.close()


async def test_a_denied_request_says_so(server: PermittedNats) -> None:
    """Instead of waiting for an answer that never comes: the error names principal and request."""
    meter = MemoryMeter()
    config = server.config(COLLECTOR.principal).model_copy(update=SILENT)
    feed = await open_feed(config, name="c", meter=meter, reads=False)
    with pytest.raises(AccessDenied, match=r"stream\.info.*hub-collector"):
        await feed.bars("EURUSD", 10_000, limit=1)
    await feed.close()

    assert meter.values["hub_denied_total", (("broker", "nats"), ("principal", "hub-collector"))] >= 1


async def test_a_denied_publish_is_counted(server: PermittedNats) -> None:
    """It is fire and forget, so the server's word comes later."""
    meter = MemoryMeter()
    feed = await open_feed(server.config(COLLECTOR.principal), name="c", meter=meter, reads=False)
    await feed.publish(HALT_SUBJECT, b'{"scope":"all","id":"*"}')

    assert await eventually(lambda: sum(meter.values.values())) == 1
    await feed.close()


async def test_a_halt_is_only_heard_from_who_may_say_it(server: PermittedNats) -> None:
    """Not what a reader of ticks has JetStream deliver there: that keeps the subject it was published on."""
    forecaster, fanout = ROOMS["forecaster"], ROOMS["fanout"]
    listening = make_broadcast(server.config(fanout.principal), name="u")
    telling = make_broadcast(server.config(OPERATOR.principal), name="o")
    heard = listening.hear(HALT_SUBJECT)
    first = asyncio.ensure_future(anext(heard))
    collector = await open_feed(server.config(COLLECTOR.principal), name="c", reads=False)
    redirect = {"deliver_subject": HALT_SUBJECT, "deliver_policy": "all", "ack_policy": "none"}
    wish = json.dumps({"stream_name": TICKS_STREAM, "config": redirect}).encode()
    async with logged_in(server, forecaster) as (client, _):
        await client.request(f"$JS.API.CONSUMER.CREATE.{TICKS_STREAM}", wish, timeout=5)
        await collector.publish(TICK, b"forged")

        async def told() -> bool:
            await telling.tell(HALT_SUBJECT, b"true")
            return first.done()

        await eventually(told)

    assert await first == b"true"
    for connection in (collector, listening, telling):
        await connection.close()


async def test_a_room_without_business_here_has_no_login(server: PermittedNats) -> None:
    """The registry has none on NATS."""
    nobody = {"user": ROOMS["registry"].principal, **SILENT}
    config = server.config(COLLECTOR.principal).model_copy(update=nobody)
    with pytest.raises(BrokerUnavailable, match="Authorization"):
        await open_feed(config, name="registry")


class TestOldServer:
    """A nats-server that says it is one whose permissions have known holes."""

    @pytest.fixture
    async def servers(self) -> AsyncIterator[tuple[str, ...]]:
        """As far as a client needs it to log in: INFO, and a PONG for every PING."""

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'INFO {"server_id":"x","version":"2.9.10","max_payload":1048576,"proto":1}\r\n')
            while line := await reader.readline():
                if line == b"PING\r\n":
                    writer.write(b"PONG\r\n")
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            yield (f"nats://127.0.0.1:{port}",)

    async def test_production_refuses_it(self, servers: tuple[str, ...]) -> None:
        """By its version, with those that would do."""
        config = NatsConfig(servers=servers, refuse_unpatched=True)
        with pytest.raises(ConfigError, match=r"2\.9\.10 has known holes.*2\.12\.7"):
            await open_feed(config, name="x", reads=False)

    async def test_a_local_hub_is_told(
        self, servers: tuple[str, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        """And goes on."""
        feed = await open_feed(NatsConfig(servers=servers), name="x", reads=False)
        await feed.close()
        assert "2.9.10 has known holes" in caplog.text


def test_jetstream_syncs_before_it_acknowledges(server: PermittedNats) -> None:
    """By default nats-server acknowledges a bar up to two minutes before it is on disk (scorecard: R16)."""
    monitor = urlopen(f"http://127.0.0.1:{_monitor_port(server)}/varz", timeout=5)
    with monitor as answer:
        assert json.load(answer)["jetstream"]["config"]["sync_always"] is True


def test_what_is_printed_asks_for_it_too() -> None:
    """Who runs servers of their own is told where it is set."""
    assert "sync_interval: always" in as_nats_accounts()


def _monitor_port(server: PermittedNats) -> str:
    configuration = Path(server.server.spec.command[-1]).read_text()
    (port,) = re.findall(r"^http: 127\.0\.0\.1:(\d+)$", configuration, re.MULTILINE)
    return str(port)
