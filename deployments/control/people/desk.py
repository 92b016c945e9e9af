"""Users of a tenant. Nobody gives, takes or touches a role that is stronger than theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.control.acting import Acting, absent
from deployments.control.auth.passwords import Passwords
from deployments.control.changes import Change, Changes
from deployments.control.tenant_config.desk import config_fields
from models.access import Role, may_grant
from models.errors import BadValue, Forbidden
from models.people import NewUser, User, UserBatch, UserChange, new_user_id
from models.principal import Principal
from models.tenant import PLATFORM_TENANT, Duty, Kind, UserRecord
from models.tenant_config import Layer, LayerKey
from storage.postgres import people, tenant_config
from storage.postgres.database import Database


class PeopleDesk:
    """What the routes of users call; `rng` makes the ids."""

    def __init__(self, database: Database, changes: Changes, passwords: Passwords, rng: Random) -> None:
        self._database = database
        self._changes = changes
        self._passwords = passwords
        self._rng = rng

    async def page(self, tenant_id: str, *, after: str, most: int) -> Sequence[User]:
        """Users by login."""
        async with self._database.tenant(tenant_id) as connection:
            return await people.page(connection, after=after, most=most)

    async def find(self, tenant_id: str, user_id: str) -> User:
        """The user; NotFound for one of another tenant as for none."""
        async with self._database.tenant(tenant_id) as connection:
            return (await _account(connection, user_id)).user

    async def add(self, acting: Acting, new: NewUser) -> User:
        """A new user. Forbidden for roles that the caller may not give, Conflict for a taken login."""
        check_roles(acting.caller, acting.tenant_id, new.roles)
        hashed = await self._passwords.hashed(new.password) if new.password else None
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            return await add_user(change, new, user_id=new_user_id(self._rng), password_hash=hashed)

    async def add_all(self, acting: Acting, batch: UserBatch) -> Sequence[User]:
        """New users, all or none, with one entry in the audit. Errors as `add`."""
        check_roles(acting.caller, acting.tenant_id, {role for new in batch.users for role in new.roles})
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            users = [_user(change, new, new_user_id(self._rng)) for new in batch.users]
            await people.add_all(change.connection, users)
            await change.note("users.import", acting.tenant_id, users=[user.user_id for user in users])
        return users

    async def change(self, acting: Acting, user_id: str, asked: UserChange, *, expected: int | None) -> User:
        """Change what is named. The last owner of a tenant stays one."""
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            before = (await _account(change.connection, user_id)).user
            if before.user_id != acting.caller.user_id or asked.roles or asked.enabled is not None:
                check_roles(acting.caller, acting.tenant_id, {*before.roles, *(asked.roles or ())})
            return await _changed(change, before, asked, expected=expected)

    async def change_own(self, caller: Principal, asked: UserChange) -> User:
        """Change the caller's own name, address and profile."""
        async with self._changes.of(caller.tenant_id, actor=caller.user_id) as change:
            before = (await _account(change.connection, caller.user_id)).user
            return await _changed(change, before, asked, expected=None)

    async def remove(self, acting: Acting, user_id: str) -> None:
        """Delete a user; its tokens and keys stop counting everywhere."""
        async with self._changes.of(acting.tenant_id, actor=acting.caller.user_id) as change:
            before = (await _account(change.connection, user_id)).user
            check_roles(acting.caller, acting.tenant_id, before.roles)
            keys = await people.key_ids(change.connection, user_id)
            await people.remove(change.connection, user_id)
            await tenant_config.forget_user(change.connection, acting.tenant_id, user_id)
            await _keep_an_owner(change, before)
            await change.note("users.delete", user_id, login=before.login)
            await change.owe(Duty.ENTITLEMENT, acting.tenant_id)
            await change.announce(Kind.USER, acting.tenant_id, user_id)
            for key_id in keys:
                await change.announce(Kind.API_KEY, key_id)


async def add_user(change: Change, new: NewUser, *, user_id: str, password_hash: str | None) -> User:
    """Write a user in somebody's change."""
    user = _user(change, new, user_id)
    await people.add(change.connection, user, password_hash=password_hash)
    await change.note("users.create", user_id, login=user.login, roles=list(user.roles))
    return user


def _user(change: Change, new: NewUser, user_id: str) -> User:
    return User(
        tenant_id=change.tenant_id,
        user_id=user_id,
        login=new.login,
        name=new.name,
        email=new.email,
        roles=new.roles,
        created_ns=change.now_ns,
        changed_ns=change.now_ns,
        version=1,
    )


def check_roles(caller: Principal, tenant_id: str, roles: Iterable[Role]) -> None:
    """Forbidden unless the caller may give all of these; BadValue for the platform's roles in a tenant."""
    wanted = sorted(roles)
    if tenant_id != PLATFORM_TENANT and any(role.of_platform for role in wanted):
        raise BadValue(
            f"the roles admin and operator are the platform's; only users of {PLATFORM_TENANT!r} have them",
            field="roles",
        )
    if not may_grant(caller.roles, wanted):
        raise Forbidden(f"your role may not give, take or touch {', '.join(wanted)}", field="roles")


async def render(connection: AsyncConnection, ids: Sequence[str]) -> UserRecord:
    """What the log says of a user; of one who is gone, that nobody comes in as it any more."""
    account = await people.find(connection, ids[1])
    if account is None:
        return UserRecord(tenant_id=ids[0], user_id=ids[1], enabled=False)
    user = account.user
    return UserRecord(
        tenant_id=user.tenant_id,
        user_id=user.user_id,
        enabled=user.enabled,
        roles=user.roles,
        not_before_ns=account.not_before_ns,
        version=user.version,
        **await config_fields(connection, ids[0], LayerKey(Layer.USER, ids[1])),
    )


async def _changed(change: Change, before: User, asked: UserChange, *, expected: int | None) -> User:
    values: dict[str, Any] = asked.model_dump(exclude_unset=True)
    if asked.enabled is False:
        values["not_before_ns"] = change.now_ns
    user = await people.change(
        change.connection, before.user_id, now_ns=change.now_ns, expected=expected, **values
    )
    if before.roles != user.roles or before.enabled != user.enabled:
        await _keep_an_owner(change, before)
        await change.announce(Kind.USER, user.tenant_id, user.user_id)
    if before.enabled != user.enabled:
        await change.owe(Duty.ENTITLEMENT, user.tenant_id)
    await change.note("users.change", user.user_id, **_differences(before, user))
    return user


def _differences(before: User, after: User) -> dict[str, Any]:
    """The names of what changed, and the values where those are the hub's own words."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    names = [name for name in new if old[name] != new[name] and name not in {"version", "changed_ns"}]
    told = {name: [old[name], new[name]] for name in names if name in {"roles", "enabled"}}
    return {"changed": names, **told}


async def _keep_an_owner(change: Change, before: User) -> None:
    """A tenant without an owner could never be administered again by its own people."""
    if Role.TENANT_OWNER in before.roles and not await people.owners(change.connection):
        raise Forbidden("this is the last owner of the tenant; make another one first", field="roles")


async def _account(connection: AsyncConnection, user_id: str) -> people.Account:
    account = await people.find(connection, user_id)
    if account is None:
        raise absent()
    return account
