"""Pages of user data in the fast store, for some seconds. What is answered may be `STALE_S` old.

The key holds tenant, user, type and window. A cached page repeats all of these, and each of its events says
whose it is: what does not fit the question is no answer to it, whatever the store says. A store that is away
costs a read of the database, and one that is asked the same by many at a time is asked once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from pydantic import ValidationError

from models.base import Frozen
from models.errors import StoreUnavailable
from models.metrics import Meter
from models.user_event import DataType, UserEvent
from storage.ports import FastStore, Key
from storage.postgres.user_data import Window

_LOG: Final = logging.getLogger("ray.serve")
STALE_S: Final = 5.0
_LARGEST: Final = 256 << 10
_KIND: Final = "user-data"


class UserDataPage(Frozen):
    """Events in the order the hub took them. Ask again with `next_cursor` for those that follow; None says
    that there were no more. What came in the last seconds may not be there yet.
    """

    events: tuple[UserEvent, ...]
    next_cursor: str | None = None


class Question(NamedTuple):
    """Which page of whose data."""

    tenant_id: str
    user_id: str
    data_type: DataType
    window: Window

    @property
    def words(self) -> str:
        """What is asked within the tenant. No part can hold the separator."""
        from_ns, to_ns, cursor, limit = self.window
        return f"{self.user_id}/{self.data_type.value}/{from_ns}/{to_ns}/{cursor or ''}/{limit}"

    @property
    def key(self) -> Key:
        """Where its answer is in the store."""
        return Key(self.tenant_id, _KIND, self.words)


class _Cached(Frozen):
    """A page, and the question it answers."""

    tenant_id: str
    words: str
    page: UserDataPage

    def answers(self, question: Question) -> bool:
        """Whether it is the answer to this question, and holds nothing of anybody else."""
        owner = (question.tenant_id, question.user_id)
        return (self.tenant_id, self.words) == (question.tenant_id, question.words) and all(
            (event.tenant_id, event.user_id) == owner for event in self.page.events
        )


class UserDataCache:
    """Owns the reads under way, one for each question: those who ask meanwhile wait for it, and whoever goes
    away stops only waiting. A read ends with its last waiter or by the database's own bound.
    """

    def __init__(self, store: FastStore, meter: Meter) -> None:
        self._store = store
        self._meter = meter
        self._reads: dict[Question, asyncio.Task[UserDataPage]] = {}

    async def get(self, question: Question, read: Callable[[], Awaitable[UserDataPage]]) -> UserDataPage:
        """The page from the store, or as `read` says, which is kept then."""
        task = self._reads.get(question)
        if task is None:
            task = self._reads[question] = asyncio.create_task(self._get(question, read))
            task.add_done_callback(lambda done: self._ended(question, done))
        return await asyncio.shield(task)

    def _ended(self, question: Question, done: asyncio.Task[UserDataPage]) -> None:
        del self._reads[question]
        if not done.cancelled():
            done.exception()  # those who waited have seen it; if all have gone, nobody needs to

    async def _get(self, question: Question, read: Callable[[], Awaitable[UserDataPage]]) -> UserDataPage:
        if cached := await self._cached(question):
            return cached
        page = await read()
        await self._keep(question, page)
        return page

    async def _cached(self, question: Question) -> UserDataPage | None:
        try:
            value = await self._store.get(question.key)
        except StoreUnavailable:
            return self._without("away")
        if value is None:
            return self._without("miss")
        try:
            cached = _Cached.from_record(value)
        except ValidationError:
            return self._without("unreadable")
        if not cached.answers(question):
            _LOG.error("the fast store answered for another tenant, user or question; it is not believed")
            return self._without("foreign")
        self._count("hit")
        return cached.page

    async def _keep(self, question: Question, page: UserDataPage) -> None:
        cached = _Cached(tenant_id=question.tenant_id, words=question.words, page=page)
        value = cached.model_dump_json(by_alias=True).encode()
        if len(value) <= _LARGEST:
            try:
                await self._store.put(question.key, value, ttl_s=STALE_S)
            except StoreUnavailable:
                self._count("not_kept")

    def _without(self, outcome: str) -> UserDataPage | None:
        """No answer from the store, and why."""
        self._count(outcome)
        return None

    def _count(self, outcome: str) -> None:
        self._meter.count("hub_user_data_cache_total", {"outcome": outcome})
