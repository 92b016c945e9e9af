"""Transactions that see one tenant, or what belongs to none.

The tenant is set inside the transaction and ends with it (`set_config(..., true)`): a connection that goes
back to the pool knows of no tenant, and row-level security then shows it nothing.

Who only reads may be served by a replica, but never without what has been written here for that tenant.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

from psycopg.pq import TransactionStatus
from sqlalchemy import URL, text
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from models.errors import BadValue, DatabaseAway, Forbidden
from storage.ports import FastStore
from storage.postgres.config import SCHEMA, TENANT_SETTING, Login, PostgresConfig
from storage.postgres.connecting import connected
from storage.postgres.positions import Positions
from storage.postgres.replica import READ_SCOPE, Primary, Replica, written

_SCOPE: Final = text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true)")
_READ_SCOPE: Final = text(f"SELECT {READ_SCOPE}")
_WROTE: Final = text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
_CONNECT_S: Final = 3
_POOL_S: Final = 5.0
_PLATFORM_POOL: Final = 2
_APP: Final = "app"
_PLATFORM: Final = "platform"
_LOG: Final = logging.getLogger(__name__)


class Database:
    """PostgreSQL as application and as platform. `close` gives the connections back.

    With a replica, `store` tells the hub's other processes up to where each tenant has written; without a
    store they may see it up to two seconds late. `monotonic` is in seconds.
    """

    def __init__(
        self,
        config: PostgresConfig,
        *,
        store: FastStore | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engines = _engines(config, config.address)
        self._app, self._platform = self._engines[_APP], self._engines[_PLATFORM]
        self._positions = Positions(store, monotonic)
        self._replica: Replica | None = None
        if config.replica:
            primary = Primary(self._platform, monotonic)
            engines = _engines(config, config.replica)
            self._replica = Replica(engines, primary, self._positions, monotonic)

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncIterator[AsyncConnection]:
        """One transaction in which only this tenant's rows exist; committed at the end, undone by an error.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached; what was asked did not happen, unless it was lost at
                the very commit.
        """
        _require(tenant_id)
        with translated():
            async with self._app.connect() as connection:
                async with connection.begin():
                    await connection.execute(_SCOPE, {"tenant": tenant_id})
                    yield connection
                    wrote = self._replica is not None and await _has_written(connection)
                    doubt = self._positions.doubt(tenant_id) if wrote else 0.0
                position = await _end_of_log(connection) if wrote else None
        if position is not None:
            await self._positions.wrote(tenant_id, position, doubt)

    @asynccontextmanager
    async def reading(self, tenant_id: str) -> AsyncIterator[AsyncConnection]:
        """One read-only transaction in which only this tenant's rows exist: on the replica where that has
        what the tenant wrote, else on the primary.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached, or the replica was lost on the way; try again.
        """
        _require(tenant_id)
        async with self._reading(_APP, tenant_id) as connection:
            yield connection

    @asynccontextmanager
    async def platform_reading(self) -> AsyncIterator[AsyncConnection]:
        """The same over what the platform may see of all tenants."""
        async with self._reading(_PLATFORM, "") as connection:
            yield connection

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[AsyncConnection]:
        """One transaction over what the platform may see of all tenants."""
        with translated():
            async with self._platform.begin() as connection:
                yield connection

    async def close(self) -> None:
        if self._replica:
            await self._replica.close()
        await self._app.dispose()
        await self._platform.dispose()

    @asynccontextmanager
    async def _reading(self, role: str, tenant_id: str) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with AsyncExitStack() as stack:
                connection = await self._replica.enter(stack, role, tenant_id) if self._replica else None
                if connection is None:
                    connection = await stack.enter_async_context(self._engines[role].begin())
                    await connection.execute(_READ_SCOPE, {"tenant": tenant_id})
                yield connection


def _require(tenant_id: str) -> None:
    if not tenant_id:
        raise Forbidden("nothing is asked of the database without a tenant")


async def _has_written(connection: AsyncConnection) -> bool:
    """Whether there is anything to commit: not where a statement failed, for that undoes all of it."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    if driver.info.transaction_status is not TransactionStatus.INTRANS:
        return False
    return bool((await connection.execute(_WROTE)).scalar())


async def _end_of_log(connection: AsyncConnection) -> int | None:
    """Where the commit lies. It stands whether or not that is known: while it is not, the primary is read."""
    try:
        return await written(connection)
    except SQLAlchemyError:
        _LOG.warning("a commit stands, but where it lies in the log is unknown")
        return None


def _engines(config: PostgresConfig, address: str) -> dict[str, AsyncEngine]:
    return {
        _APP: engine(config, config.app, address=address),
        _PLATFORM: engine(config, config.platform, address=address, pool_size=_PLATFORM_POOL),
    }


def engine(
    config: PostgresConfig, login: Login, *, address: str | None = None, pool_size: int | None = None
) -> AsyncEngine:
    """A pool of connections of one role. Every one gives up on a statement that takes too long."""
    host, _, port = (address or config.address).rpartition(":")
    url = URL.create(
        "postgresql+psycopg", username=login.role, host=host, port=int(port), database=config.database
    )
    options = {
        "search_path": SCHEMA,
        "statement_timeout": config.statement_timeout_ms,
        "lock_timeout": config.statement_timeout_ms // 2,
        "idle_in_transaction_session_timeout": 6 * config.statement_timeout_ms,
    }
    arguments: dict[str, Any] = {
        "password": login.password.resolve() if login.password else None,
        "sslmode": config.sslmode,
        "sslrootcert": config.ca_file,
        "connect_timeout": _CONNECT_S,
        "application_name": "central-hub",
        "async_creator_fn": connected,
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }
    return create_async_engine(
        url,
        connect_args={name: value for name, value in arguments.items() if value is not None},
        pool_size=pool_size or config.pool_size,
        max_overflow=0,
        pool_timeout=_POOL_S,
        pool_pre_ping=True,
        hide_parameters=True,  # what is bound may be a secret, and errors are logged
    )


@contextmanager
def translated() -> Iterator[None]:
    """PostgreSQL that is away as an error of the hub; anything else is a defect and stays what it is."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise DatabaseAway("the database does not answer; try again", retry_after_s=1.0) from error
    except DataError as error:
        raise BadValue("a value holds what the database cannot keep, such as a NUL character") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseAway("the database went away; try again", retry_after_s=1.0) from error
        raise
