"""Transactions that see one tenant, or what belongs to none.

The tenant is set inside the transaction and ends with it (`set_config(..., true)`): a connection that goes
back to the pool knows of no tenant, and row-level security then shows it nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from models.errors import DatabaseAway, Forbidden
from storage.postgres.config import SCHEMA, Login, PostgresConfig

TENANT_SETTING: Final = "hub.tenant"
_SCOPE: Final = text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true)")
_CONNECT_S: Final = 3
_POOL_S: Final = 5.0


class Database:
    """The primary as application and as platform. `close` gives the connections back."""

    def __init__(self, config: PostgresConfig) -> None:
        self._app = engine(config, config.app)
        self._platform = engine(config, config.platform, pool_size=2)

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncIterator[AsyncConnection]:
        """One transaction in which only this tenant's rows exist; committed at the end, undone by an error.

        Raises:
            DatabaseAway: PostgreSQL cannot be reached; what was asked did not happen, unless it was lost at
                the very commit.
        """
        if not tenant_id:
            raise Forbidden("nothing is asked of the database without a tenant")
        with translated():
            async with self._app.begin() as connection:
                await connection.execute(_SCOPE, {"tenant": tenant_id})
                yield connection

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[AsyncConnection]:
        """One transaction over what the platform may see of all tenants."""
        with translated():
            async with self._platform.begin() as connection:
                yield connection

    async def close(self) -> None:
        await self._app.dispose()
        await self._platform.dispose()


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
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseAway("the database went away; try again", retry_after_s=1.0) from error
        raise
