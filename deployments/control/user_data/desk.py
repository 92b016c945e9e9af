"""Long-term user data: read by page, taken out whole, erased. Signals never come this way."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from typing import Final

from deployments.control.acting import absent
from deployments.control.changes import Changes
from deployments.control.user_data.cache import Question, UserDataCache, UserDataPage
from deployments.control.user_data.upkeep import rules_for, term_of
from models.base import Frozen
from models.retention import RetentionPolicy
from models.user_event import DataType, UserEvent
from storage.postgres import user_data
from storage.postgres.database import Database
from storage.postgres.user_data import Cursor, Owner, Window

_LINES: Final = 500


class Kept(Frozen):
    """What erasure left, because a rule wants it kept: until when for an event of today; None is for ever."""

    rule: str
    until: date | None


class Erased(Frozen):
    """How many events of each type are gone, and what had to stay."""

    erased: dict[DataType, int]
    kept: dict[DataType, Kept]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UserDataDesk:
    """What the routes of user data call. Without a `policy` no rule keeps anything from being erased."""

    database: Database
    changes: Changes
    cache: UserDataCache
    policy: RetentionPolicy | None
    clock: Callable[[], int]

    async def get_user_data(
        self, tenant_id: str, user_id: str, data_type: DataType, window: Window
    ) -> UserDataPage:
        """A page of one user's events of one type, at most `STALE_S` old."""
        question = Question(tenant_id, user_id, data_type, window)
        return await self.cache.get(question, lambda: self._read(question))

    async def must_be_user(self, tenant_id: str, user_id: str) -> None:
        """NotFound unless the tenant has the user: another tenant's are as absent as nobody's."""
        async with self.database.tenant(tenant_id) as connection:
            if not await user_data.is_user(connection, tenant_id, user_id):
                raise absent()

    async def erase_user(self, tenant_id: str, user_id: str, *, by: str) -> Erased:
        """Erase what no retention rule keeps, and write down that it was done.

        What the log still holds of the user ends with its topic's own time.
        """
        today = datetime.fromtimestamp(self.clock() // 10**9, UTC).date()
        kept = {kind: term for kind in DataType if (term := self._kept(kind, today))}
        free = [kind for kind in DataType if kind not in kept]
        async with self.changes.of(tenant_id, actor=by) as change:
            erased = await user_data.erase_user(change.connection, tenant_id, user_id, free)
            counts = {kind.value: number for kind, number in erased.items()}
            await change.note("user_data.erase", user_id, erased=counts, kept=sorted(kept))
        return Erased(erased=erased, kept=kept)

    async def _read(self, question: Question) -> UserDataPage:
        tenant_id, user_id, data_type, window = question
        one_more = window._replace(limit=window.limit + 1)
        async with self.database.tenant(tenant_id) as connection:
            events = await user_data.page(connection, Owner(tenant_id, user_id), data_type, one_more)
        shown = tuple(events[: window.limit])
        more = len(events) > window.limit
        cursor = str(Cursor(shown[-1].at_ns, shown[-1].event_id)) if more else None
        return UserDataPage(events=shown, next_cursor=cursor)

    def _kept(self, data_type: DataType, today: date) -> Kept | None:
        if self.policy is None or not rules_for(self.policy, data_type):
            return None
        term = term_of(self.policy, data_type, today)
        return Kept(rule=term.rule or "", until=term.until)


async def export_user(database: Database, tenant_id: str, user_id: str) -> AsyncIterator[bytes]:
    """Everything kept of a user as lines of JSON, type by type, oldest first. No transaction stays open, so
    what is added meanwhile may be among them.
    """
    for data_type in DataType:
        window = Window(limit=_LINES)
        while True:
            async with database.tenant(tenant_id) as connection:
                events = await user_data.page(connection, Owner(tenant_id, user_id), data_type, window)
            for event in events:
                yield _line(data_type, event)
            if len(events) < _LINES:
                break
            window = window._replace(cursor=Cursor(events[-1].at_ns, events[-1].event_id))


async def export_tenant(database: Database, tenant_id: str) -> AsyncIterator[bytes]:
    """Everything kept of a tenant's users as lines of JSON: by type, user and time."""
    for data_type in DataType:
        after = ("", 0, "")
        while True:
            async with database.tenant(tenant_id) as connection:
                events = await user_data.lines(connection, tenant_id, data_type, after=after, most=_LINES)
            for event in events:
                yield _line(data_type, event)
            if len(events) < _LINES:
                break
            after = (events[-1].user_id, events[-1].at_ns, events[-1].event_id)


def _line(data_type: DataType, event: UserEvent) -> bytes:
    return b'{"data_type":"%b","event":%b}\n' % (
        data_type.value.encode(),
        event.model_dump_json(by_alias=True).encode(),
    )
