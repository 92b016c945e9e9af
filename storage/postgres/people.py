"""The rows of users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import RowMapping, any_, delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from models.access import Role
from models.errors import Conflict, NotFound
from models.people import User
from storage.postgres.tables.people import API_KEYS, SESSIONS
from storage.postgres.tables.people import USERS as U

_SECRETS = {"password_hash", "not_before_ns"}


@dataclass(frozen=True, slots=True)
class Account:
    """A user with what decides who may come in as it; the hash never leaves the control plane."""

    user: User
    password_hash: str | None
    not_before_ns: int

    def __repr__(self) -> str:
        """Without the hash."""
        return f"Account({self.user.user_id})"


async def add(connection: AsyncConnection, user: User, *, password_hash: str | None = None) -> None:
    """Write a new user; Conflict if the login is taken in this tenant."""
    values = user.model_dump() | {"password_hash": password_hash, "not_before_ns": 0}
    try:
        async with connection.begin_nested():
            await connection.execute(insert(U).values(values))
    except IntegrityError as error:
        raise Conflict(f"the login {user.login!r} is taken", field="login") from error


async def add_all(connection: AsyncConnection, users: Sequence[User]) -> None:
    """Write new users, or none of them; Conflict if a login is taken in this tenant."""
    rows = [user.model_dump() | {"password_hash": None, "not_before_ns": 0} for user in users]
    try:
        await connection.execute(insert(U), rows)
    except IntegrityError as error:
        raise Conflict("a login of the batch is taken; nobody was added", field="users") from error


async def find(connection: AsyncConnection, user_id: str) -> Account | None:
    """The user of the transaction's tenant by id."""
    return _account((await connection.execute(select(U).where(U.c.user_id == user_id))).mappings().first())


async def find_by_login(connection: AsyncConnection, login: str) -> Account | None:
    """The user of the transaction's tenant by login."""
    return _account((await connection.execute(select(U).where(U.c.login == login))).mappings().first())


async def page(connection: AsyncConnection, *, after: str, most: int) -> Sequence[User]:
    """Users by login from behind `after`."""
    statement = select(U).where(U.c.login > after).order_by(U.c.login).limit(most)
    return [_user(row) for row in (await connection.execute(statement)).mappings()]


class Standing(NamedTuple):
    """Whether a user may come in, and how often the user has changed."""

    enabled: bool
    version: int


async def standings(connection: AsyncConnection) -> Mapping[str, Standing]:
    """All users of the transaction's tenant, by id."""
    rows = await connection.execute(select(U.c.user_id, U.c.enabled, U.c.version))
    return {user_id: Standing(enabled, version) for user_id, enabled, version in rows}


async def change(
    connection: AsyncConnection, user_id: str, *, now_ns: int, expected: int | None = None, **values: Any
) -> User:
    """Change these columns; NotFound for no such user, Conflict if its version is not the expected one."""
    statement = (
        update(U)
        .where(U.c.user_id == user_id)
        .values(**values, changed_ns=now_ns, version=U.c.version + 1)
        .returning(U)
    )
    row = (await connection.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("there is nothing of that name for you")
    if expected is not None and row["version"] != expected + 1:
        raise Conflict("the user has changed since you read it; read it again", field="version")
    return _user(row)


async def key_ids(connection: AsyncConnection, user_id: str) -> Sequence[str]:
    """The ids of the user's API keys."""
    return list(
        (await connection.execute(select(API_KEYS.c.key_id).where(API_KEYS.c.user_id == user_id))).scalars()
    )


async def remove(connection: AsyncConnection, user_id: str) -> None:
    """Delete a user with its sessions and keys; NotFound for no such user."""
    for table in (SESSIONS, API_KEYS):
        await connection.execute(delete(table).where(table.c.user_id == user_id))
    if (await connection.execute(delete(U).where(U.c.user_id == user_id))).rowcount == 0:
        raise NotFound("there is nothing of that name for you")


async def owners(connection: AsyncConnection) -> int:
    """How many enabled owners the tenant has. Their rows stay locked until the transaction ends, so that two
    who demote each other at once cannot both succeed.
    """
    locked = (
        select(U.c.user_id)
        .where(literal(Role.TENANT_OWNER.value) == any_(U.c.roles), U.c.enabled)
        .order_by(U.c.user_id)
        .with_for_update()
        .subquery()
    )
    return int((await connection.execute(select(func.count()).select_from(locked))).scalar_one())


def _account(row: RowMapping | None) -> Account | None:
    return Account(_user(row), row["password_hash"], row["not_before_ns"]) if row else None


def _user(row: RowMapping) -> User:
    return User.model_validate({name: value for name, value in row.items() if name not in _SECRETS})
