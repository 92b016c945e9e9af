"""A streaming replica: asked where it surely has what its reader may expect, and otherwise at once not.

It has replayed what the primary had written one to two seconds ago, which the primary is asked for once a
second, and all that the tenant has written since, as far as anybody knows (`positions.py`). A replica that
does not answer is left alone for a while, and then one reader tries it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.postgres.config import TENANT_SETTING
from storage.postgres.positions import EVERYBODY, NOWHERE, Positions

STALENESS_S: Final = 2.0
"""No answer of a replica is older, whatever processes and stores have forgotten."""
SAMPLE_S: Final = 1.0
PATIENCE_S: Final = 0.25
REST_S: Final = 5.0
LOOK_S: Final = 0.05
"""A replica that was behind is looked at again so soon: most are behind for milliseconds."""
READ_SCOPE: Final = (
    f"set_config('{TENANT_SETTING}', :tenant, true), set_config('transaction_read_only', 'on', true)"
)
# A commit lies before what is flushed, unless the administrator lets commits not wait for that. What is only
# inserted may stay there for as long as nobody commits, and no replica gets it before.
_WRITTEN: Final = text(
    "SELECT (CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn()"
    " ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint"
)
_ENTER: Final = text(
    "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END, " + READ_SCOPE
)
_LOG: Final = logging.getLogger(__name__)
_Entered: TypeAlias = tuple[AsyncExitStack, AsyncConnection]


class _NotUsableError(Exception):
    """What is at the replica's address is no replica, or is behind."""


class Sample(NamedTuple):
    """A position in the log and when it was asked for, in seconds."""

    position: int
    at_s: float


async def written(connection: AsyncConnection) -> int:
    """Where the primary's log ends now; what has been committed lies before."""
    position: int = (await connection.execute(_WRITTEN)).scalar_one()
    return position


class Primary:
    """What the primary had written lately; `monotonic` is in seconds."""

    def __init__(self, engine: AsyncEngine, monotonic: Callable[[], float]) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._older = self._newer = Sample(NOWHERE, float("-inf"))
        self._asking = False

    async def floor(self) -> int:
        """Where its log ended at most STALENESS_S ago; NOWHERE if it did not say."""
        if not self._asking and self._monotonic() - self._newer.at_s >= SAMPLE_S:
            await self._ask()
        oldest = self._monotonic() - STALENESS_S
        return next((one.position for one in (self._older, self._newer) if one.at_s >= oldest), NOWHERE)

    async def _ask(self) -> None:
        self._asking = True
        at_s = self._monotonic()
        try:
            async with self._engine.connect() as connection:
                self._older, self._newer = self._newer, Sample(await written(connection), at_s)
        except SQLAlchemyError:
            _LOG.warning("no replica is asked: the primary does not say what it has written")
        finally:
            self._asking = False


class Replica:
    """`engines` are its pools by role."""

    def __init__(
        self,
        engines: Mapping[str, AsyncEngine],
        primary: Primary,
        positions: Positions,
        monotonic: Callable[[], float],
    ) -> None:
        self._engines = engines
        self._primary = primary
        self._positions = positions
        self._monotonic = monotonic
        self._replayed = Sample(0, float("-inf"))
        self._resting_until: float | None = None
        self._trying = False
        self._late: set[asyncio.Task[None]] = set()

    async def enter(self, stack: AsyncExitStack, role: str, tenant_id: str) -> AsyncConnection | None:
        """A read-only transaction of this role that ends with the stack; None: ask the primary. A `tenant_id`
        that is empty is for roles that see all tenants.
        """
        needed = await self._needed(tenant_id or EVERYBODY)
        if needed == NOWHERE or not self._worth_trying(needed):
            return None
        try:
            attempt, connection = await self._in_time(self._enter(role, tenant_id, needed=needed))
        except _NotUsableError:
            return None
        except (SQLAlchemyError, TimeoutError) as error:
            self._rest(type(error).__name__)
            return None
        finally:
            self._trying = False
        stack.push_async_exit(attempt)
        stack.push(self._failed)
        return connection

    async def close(self) -> None:
        """Give the connections back; an attempt that still hangs is waited for, some seconds at most."""
        await asyncio.gather(*self._late, return_exceptions=True)
        for engine in self._engines.values():
            await engine.dispose()

    async def _needed(self, name: str) -> int:
        floor = await self._primary.floor()
        return floor if floor == NOWHERE else max(floor, await self._positions.of(name))

    def _worth_trying(self, needed: int) -> bool:
        now_s = self._monotonic()
        if needed > self._replayed.position and now_s - self._replayed.at_s < LOOK_S:
            return False
        if self._resting_until is not None:
            if self._trying or now_s < self._resting_until:
                return False
            self._trying = True
        return True

    async def _in_time(self, attempt: Coroutine[Any, Any, _Entered]) -> _Entered:
        """The attempt's result; TimeoutError after PATIENCE_S. A driver that is cancelled waits seconds for
        the server to agree, so nobody waits for the driver: the attempt ends by itself.
        """
        task = asyncio.create_task(attempt)
        try:
            done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise TimeoutError
        return task.result()

    def _abandon(self, task: asyncio.Task[_Entered]) -> None:
        task.cancel()
        ending = asyncio.create_task(_ended(task))
        self._late.add(ending)
        ending.add_done_callback(self._late.discard)

    async def _enter(self, role: str, tenant_id: str, *, needed: int) -> _Entered:
        async with AsyncExitStack() as attempt:
            at_s = self._monotonic()
            connection = await attempt.enter_async_context(self._engines[role].begin())
            replayed = (await connection.execute(_ENTER, {"tenant": tenant_id})).scalar()
            self._judge(replayed, needed, at_s)
            return attempt.pop_all(), connection

    def _judge(self, replayed: int | None, needed: int, at_s: float) -> None:
        if replayed is None:
            self._rest("it is not in recovery")
            raise _NotUsableError
        if self._resting_until is not None:
            _LOG.warning("the replica of the database answers again")
            self._resting_until = None
        self._replayed = Sample(replayed, at_s)
        if replayed < needed:
            raise _NotUsableError

    def _failed(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """It went away, or had to cancel the reader, in the middle: whoever tries again asks the primary."""
        if kind is not None and issubclass(kind, SQLAlchemyError):
            self._rest(kind.__name__)

    def _rest(self, why: str) -> None:
        if self._resting_until is None:
            _LOG.warning("the replica of the database is left alone: %s", why)
        self._resting_until = self._monotonic() + REST_S


async def _ended(task: asyncio.Task[_Entered]) -> None:
    """Wait for an attempt that nobody wants any more, and undo it if it came through after all."""
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(result, BaseException):
        await result[0].aclose()
