"""Users of a tenant, and each user's own profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from deployments.control.access import acting, holding
from deployments.control.acting import Acting
from deployments.control.pages import After, Most, following
from deployments.control.services import Control
from models.access import Permission
from models.base import Frozen
from models.people import Email, NewUser, PersonName, Profile, User, UserBatch, UserChange
from models.principal import Principal

router = APIRouter(tags=["users"])

Reader = Annotated[Acting, Depends(acting(Permission.USERS_READ))]
Writer = Annotated[Acting, Depends(acting(Permission.USERS_WRITE))]
Own = Annotated[Principal, Depends(holding(Permission.PROFILE_OWN))]
UserId = Annotated[str, Path(min_length=1, max_length=64, description="The user's id")]
Version = Annotated[
    int | None, Query(ge=1, description="The version you have read; the change is refused if it is another")
]


class UserPage(Frozen):
    """Users by login; `next` is where the next page begins."""

    users: Sequence[User]
    next: str | None = None


class ProfileChange(Frozen):
    """What people change of themselves; what is not named stays."""

    name: PersonName | None = None
    email: Email | None = None
    profile: Profile | None = None


@router.get("/tenants/{tenant_id}/users")
async def users(on: Reader, control: Control, after: After = "", most: Most = 100) -> UserPage:
    """The users of the tenant."""
    page = await control.people.page(on.tenant_id, after=after, most=most)
    return UserPage(users=page, next=following([one.login for one in page], most))


@router.post("/tenants/{tenant_id}/users", status_code=201)
async def add_user(new: NewUser, on: Writer, control: Control) -> User:
    """Add a user. One without a password comes in by API keys alone."""
    return await control.people.add(on, new)


@router.post("/tenants/{tenant_id}/users/batch", status_code=201)
async def add_users(batch: UserBatch, on: Writer, control: Control) -> UserPage:
    """Add up to a thousand users, or none of them; in the order in which they were given."""
    return UserPage(users=await control.people.add_all(on, batch))


@router.get("/tenants/{tenant_id}/users/{user_id}")
async def user(user_id: UserId, on: Reader, control: Control) -> User:
    """One user."""
    return await control.people.find(on.tenant_id, user_id)


@router.patch("/tenants/{tenant_id}/users/{user_id}")
async def change_user(  # noqa: PLR0917 - FastAPI passes them by name
    user_id: UserId, asked: UserChange, on: Writer, control: Control, version: Version = None
) -> User:
    """Change a user: roles and `enabled` hold everywhere within a second."""
    return await control.people.change(on, user_id, asked, expected=version)


@router.delete("/tenants/{tenant_id}/users/{user_id}", status_code=204)
async def remove_user(user_id: UserId, on: Writer, control: Control) -> Response:
    """Remove a user; tokens and keys of it stop counting within a second."""
    await control.people.remove(on, user_id)
    return Response(status_code=204)


@router.get("/me")
async def me(caller: Own, control: Control) -> User:
    """Who I am."""
    return await control.people.find(caller.tenant_id, caller.user_id)


@router.patch("/me")
async def change_me(asked: ProfileChange, caller: Own, control: Control) -> User:
    """Change my name, address or profile."""
    return await control.people.change_own(caller, UserChange(**asked.model_dump(exclude_unset=True)))
