"""Redis behind a password and behind TLS. The bundled server has no TLS: a terminator before it does."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from models.errors import StoreUnavailable
from models.secret import SecretRef
from serve_app.servers.bundled import valkey
from storage.ports import Key
from storage.redis_store import RedisConfig, RedisFastStore
from tests.support.certificate import Certificate

PASSWORD = "correct horse battery staple"
PASSWORD_ENV = "HUB_TEST_REDIS_PASSWORD"
KEY = Key("tenant", "kind", "id")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A Valkey of this test's own, as host:port."""
    server = valkey(tmp_path)
    server.start()
    try:
        server.wait_ready()
        yield server.address
    finally:
        server.stop()


async def round_trip(config: RedisConfig) -> bytes | None:
    """Write a value and read it back."""
    async with RedisFastStore(config) as store:
        await store.put(KEY, b"1", ttl_s=60)
        return await store.get(KEY)


@pytest.mark.valkey
async def test_a_password_is_taken_from_where_the_configuration_says(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it the store works; without it, or with another, it is unavailable and says no secret."""
    async with Redis.from_url(f"redis://{address}/0") as admin:
        await admin.config_set("requirepass", PASSWORD)
    url = f"redis://{address}/0"
    secret = SecretRef(env=PASSWORD_ENV)

    monkeypatch.setenv(PASSWORD_ENV, PASSWORD)
    assert await round_trip(RedisConfig(url=url, password=secret, timeout_ms=1000)) == b"1"
    with pytest.raises(StoreUnavailable):
        await round_trip(RedisConfig(url=url, timeout_ms=1000))
    monkeypatch.setenv(PASSWORD_ENV, "wrong secret")
    with pytest.raises(StoreUnavailable) as refused:
        await round_trip(RedisConfig(url=url, password=secret, timeout_ms=1000))
    assert "wrong secret" not in refused.value.message


@pytest.mark.valkey
async def test_tls_is_verified_against_the_named_authority(address: str, tmp_path: Path) -> None:
    """With the right authority the store works; with another, or with the system's, it does not connect."""
    ours, other = certificate_in(tmp_path / "ours"), certificate_in(tmp_path / "other")
    async with tls_in_front_of(address, ours) as port:
        url = f"rediss://127.0.0.1:{port}/0"

        assert await round_trip(RedisConfig(url=url, ca_file=str(ours.certificate), timeout_ms=1000)) == b"1"
        for authority in (str(other.certificate), None):
            with pytest.raises(StoreUnavailable):
                await round_trip(RedisConfig(url=url, ca_file=authority, timeout_ms=1000))


@contextlib.asynccontextmanager
async def tls_in_front_of(address: str, ours: Certificate) -> AsyncIterator[int]:
    """A loopback port that speaks TLS and passes everything on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.certificate, ours.key)
    host, port = address.split(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


def certificate_in(directory: Path) -> Certificate:
    """A certificate in a directory of its own."""
    directory.mkdir()
    return Certificate(directory)
