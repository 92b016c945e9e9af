"""`FastStore` on Redis or Valkey, by redis-py with its defaults turned off.

redis-py by itself repeats every command up to ten times for a minute: a counter would count eleven times and
a request would wait that long. Here a command is sent once, is given up after a fraction of a second, and a
server that failed is left alone for a moment. A cancelled call closes its connection, so that its late reply
can never be taken for the answer to somebody else's question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from pydantic import Field, field_validator
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from models.base import Frozen
from models.errors import StoreUnavailable
from models.secret import SecretRef
from storage import gcra
from storage.ports import Bucket, Grant, Key


class RedisConfig(Frozen):
    """Where Redis is: `redis://host:port/db`, or `rediss://` for TLS (verified by `ca_file` or the system).

    `timeout_ms` bounds a whole call with connecting; `rest_ms` is how long a failed server is left alone.
    """

    url: str
    username: str | None = None
    password: SecretRef | None = None
    ca_file: str | None = None
    timeout_ms: int = Field(80, gt=0, le=1000)
    rest_ms: int = Field(500, ge=0)
    connections: int = Field(8, gt=0)

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        if not url.startswith(("redis://", "rediss://")):
            raise ValueError("expected redis://host:port/db, or rediss:// for TLS")
        if "@" in url:
            raise ValueError("a url must not hold credentials; name them in `username` and `password`")
        return url

    @property
    def tls(self) -> bool:
        return self.url.startswith("rediss://")


class RedisFastStore:
    """Owns its connections. After a failure calls are refused at once for `rest_ms`; then one call tries."""

    def __init__(self, config: RedisConfig) -> None:
        self._timeout_s = config.timeout_ms / 1000
        self._rest_s = config.rest_ms / 1000
        self._pool = _pool(config)
        self._redis: Redis = Redis(connection_pool=self._pool)
        self._take = self._redis.register_script(gcra.LUA)
        self._resting_until = 0.0

    async def put(self, key: Key, value: bytes, *, ttl_s: float) -> None:
        await self._ask(lambda: self._redis.set(str(key), value, px=_ms(ttl_s)))

    async def put_many(self, entries: Sequence[tuple[Key, bytes]], *, ttl_s: float) -> None:
        commands = self._redis.pipeline(transaction=False)
        for key, value in entries:
            commands.set(str(key), value, px=_ms(ttl_s))
        await self._ask(commands.execute)

    async def get(self, key: Key) -> bytes | None:
        value: bytes | None = await self._ask(lambda: self._redis.get(str(key)))
        return value

    async def take(self, buckets: Sequence[Bucket]) -> Grant:
        keys = [str(bucket.key) for bucket in buckets]
        costs = [cost for b in buckets for cost in (gcra.interval_us(b.rate), gcra.burst_us(b.rate))]
        allowed, *debts = await self._ask(lambda: self._take(keys=keys, args=costs))
        standings = (gcra.standing(debt, bucket.rate) for debt, bucket in zip(debts, buckets, strict=True))
        return Grant(allowed=bool(allowed), standings=tuple(standings))

    async def ping(self) -> None:
        await self._ask(self._redis.ping)

    async def close(self) -> None:
        await self._redis.aclose()
        await self._pool.disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, command: Callable[[], Awaitable[Any]]) -> Any:
        """Run a command once, within the bound; a failure sends the store to rest."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._resting_until:
            raise StoreUnavailable("the fast store is resting after a failure", retry_after_s=self._rest_s)
        if self._resting_until:
            self._rest(loop)  # this call is the one that tries; the others stay refused until it succeeded
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await command()
        except (RedisError, OSError, TimeoutError) as error:
            self._rest(loop)
            raise StoreUnavailable(
                f"the fast store failed within {self._timeout_s * 1000:.0f} ms: {type(error).__name__}",
                retry_after_s=self._rest_s,
            ) from error
        self._resting_until = 0.0
        return answer

    def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        self._resting_until = loop.time() + self._rest_s


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _pool(config: RedisConfig) -> BlockingConnectionPool:
    """A pool whose connections are usable at once.

    redis-py's own greetings (protocol 3, its name, notices of maintenance) take four round trips: many
    connections opened together would then outlast the bound of the calls that wait for them. Its timeout of a
    socket is off, as a call has its bound already: it sends by `asyncio.wait_for`, which can lose a cancel.
    """
    timeout_s = config.timeout_ms / 1000
    tls = {"ssl_ca_certs": config.ca_file, "ssl_cert_reqs": "required"} if config.tls else {}
    return BlockingConnectionPool.from_url(
        config.url,
        username=config.username,
        password=config.password.resolve() if config.password else None,
        max_connections=config.connections,
        timeout=timeout_s,
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **tls,
    )
