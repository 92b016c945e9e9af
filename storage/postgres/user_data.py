"""A user's long-term data, as its tenant sees it: by page, whole, and erased, in the tenant's transaction."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, Self

import orjson
from pydantic_core import from_json
from sqlalchemy import (
    BigInteger,
    CursorResult,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    delete,
    exists,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import BadValue
from models.user_event import DataType, UserEvent
from storage.postgres.tables.people import USERS
from storage.postgres.tables.user_data import USER_DATA as D

FOREVER_NS: Final = 2**63 - 1


class Cursor(NamedTuple):
    """Behind which event a page begins. Clients hold it as an opaque word; one that is made up misleads
    nobody but its caller, because what is read is that user's alone all the same.
    """

    at_ns: int
    event_id: str

    def __str__(self) -> str:
        return urlsafe_b64encode(orjson.dumps([self.at_ns, self.event_id])).decode().rstrip("=")

    @classmethod
    def parse(cls, word: str) -> Self:
        """BadValue, naming `cursor`, for anything but what `str` gave."""
        try:
            at_ns, event_id = orjson.loads(urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        except (ValueError, TypeError):
            at_ns, event_id = None, None
        if type(at_ns) is not int or not isinstance(event_id, str) or "\0" in event_id:
            raise BadValue("cursor was not one that an earlier page gave", field="cursor")
        if not 0 <= at_ns <= FOREVER_NS:
            raise BadValue("cursor was not one that an earlier page gave", field="cursor")
        return cls(at_ns, event_id)


class Window(NamedTuple):
    """Which events: taken by the hub in [from_ns, to_ns), behind the cursor, at most `limit` of them."""

    from_ns: int = 0
    to_ns: int = FOREVER_NS
    cursor: Cursor | None = None
    limit: int = 100


class Owner(NamedTuple):
    """Whose data."""

    tenant_id: str
    user_id: str


async def page(
    connection: AsyncConnection, owner: Owner, data_type: DataType, window: Window
) -> Sequence[UserEvent]:
    """Events in the order the hub took them, ties by `event_id`: what is added meanwhile moves nothing."""
    after = window.cursor or Cursor(window.from_ns, "")
    rows = await connection.execute(
        _PAGE,
        {
            "tenant": owner.tenant_id,
            "user": owner.user_id,
            "kind": data_type.value,
            "low": max(window.from_ns, after.at_ns),
            "high": window.to_ns,
            "after_ns": after.at_ns,
            "after_id": after.event_id,
            "most": window.limit,
        },
    )
    return [_event(row) for row in rows]


async def lines(
    connection: AsyncConnection,
    tenant_id: str,
    data_type: DataType,
    *,
    after: tuple[str, int, str],
    most: int,
) -> Sequence[UserEvent]:
    """Events of a whole tenant by user, time and id, behind `after`."""
    rows = await connection.execute(
        _LINES,
        dict(zip(("after_user", "after_ns", "after_id"), after, strict=True))
        | {"tenant": tenant_id, "kind": data_type.value, "most": most},
    )
    return [_event(row) for row in rows]


async def erase_user(
    connection: AsyncConnection, tenant_id: str, user_id: str, types: Collection[DataType]
) -> dict[DataType, int]:
    """Delete a user's events of these types; how many there were of each."""
    erased = {}
    for data_type in types:
        mine = delete(D).where(D.c.tenant_id == tenant_id, D.c.user_id == user_id)
        result: CursorResult[Any] = await connection.execute(mine.where(D.c.data_type == data_type.value))
        erased[data_type] = result.rowcount
    return erased


async def erase_tenant(connection: AsyncConnection, tenant_id: str) -> int:
    """Delete everything of a tenant, whatever any rule says; how many events there were."""
    result: CursorResult[Any] = await connection.execute(delete(D).where(D.c.tenant_id == tenant_id))
    return result.rowcount


async def is_user(connection: AsyncConnection, tenant_id: str, user_id: str) -> bool:
    """Whether the tenant has such a user."""
    mine = exists().where(USERS.c.tenant_id == tenant_id, USERS.c.user_id == user_id)
    return bool((await connection.execute(select(mine))).scalar())


def _event(row: Row[Any]) -> UserEvent:
    """Read as it is: it was checked before it was stored."""
    return UserEvent.model_construct(**(row._asdict() | {"body": from_json(row.body)}))


def _reading() -> Select[Any]:
    columns = (D.c.tenant_id, D.c.user_id, D.c.event_id, D.c.type, D.c.occurred_ns, D.c.at_ns)
    mine = (
        D.c.tenant_id == bindparam("tenant", type_=Text()),
        D.c.data_type == bindparam("kind", type_=Text()),
    )
    return select(*columns, cast(D.c.body, Text).label("body")).where(*mine).limit(bindparam("most"))


_AFTER_NS: Final = bindparam("after_ns", type_=BigInteger())
_AFTER_ID: Final = bindparam("after_id", type_=Text())
_PAGE: Final = (
    _reading()
    .where(
        D.c.user_id == bindparam("user", type_=Text()),
        D.c.at_ns >= bindparam("low", type_=BigInteger()),
        D.c.at_ns < bindparam("high", type_=BigInteger()),
        tuple_(D.c.at_ns, D.c.event_id) > tuple_(_AFTER_NS, _AFTER_ID),
    )
    .order_by(D.c.at_ns, D.c.event_id)
)
_LINES: Final = (
    _reading()
    .where(
        tuple_(D.c.user_id, D.c.at_ns, D.c.event_id)
        > tuple_(bindparam("after_user", type_=Text()), _AFTER_NS, _AFTER_ID)
    )
    .order_by(D.c.user_id, D.c.at_ns, D.c.event_id)
)
