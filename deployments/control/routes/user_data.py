"""Long-term user data: one's own, or with `data:all` that of the tenant's users."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import StreamingResponse

from deployments.control.access import acting
from deployments.control.acting import Acting, absent
from deployments.control.services import Control
from deployments.control.user_data.cache import UserDataPage
from deployments.control.user_data.desk import Erased, export_user
from models.access import Permission
from models.user_event import DataType
from storage.postgres.user_data import FOREVER_NS, Cursor, Window

router = APIRouter(prefix="/tenants/{tenant_id}/users/{user_id}/data", tags=["user data"])

MOST: Final = 200
JSON_LINES: Final = "application/x-ndjson"

UserInPath = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", description="The user", examples=["u-1f09aa52"])
]
TypeInPath = Annotated[DataType, Path(description="What the events are about", examples=["trades"])]
From = Annotated[
    int, Query(alias="from", ge=0, le=FOREVER_NS, description="Taken by the hub from here on, ns since 1970")
]
To = Annotated[int, Query(ge=0, le=FOREVER_NS, description="And before this moment, ns since 1970")]
After = Annotated[
    str | None, Query(max_length=200, description="`next_cursor` of the page before, to go on behind it")
]
Limit = Annotated[int, Query(ge=1, le=MOST, description="At most so many events")]


async def of_user(
    acting_on: Annotated[Acting, Depends(acting(Permission.DATA_OWN))], user_id: UserInPath, control: Control
) -> Acting:
    """The caller, about its own data or with `data:all`. Who may not look is told what is told of nobody."""
    caller, tenant_id = acting_on
    if (caller.tenant_id, caller.user_id) == (tenant_id, user_id):
        return acting_on
    if not acting_on.may(Permission.DATA_ALL):
        await control.refusals.write(caller, Permission.DATA_ALL, user_id)
        raise absent()
    return acting_on


OfUser = Annotated[Acting, Depends(of_user)]


async def window(from_ns: From = 0, to: To = FOREVER_NS, cursor: After = None, limit: Limit = 100) -> Window:
    """Which events are asked for."""
    return Window(from_ns, to, Cursor.parse(cursor) if cursor else None, limit)


async def asked(
    user_id: UserInPath, data_type: TypeInPath, within: Annotated[Window, Depends(window)]
) -> tuple[str, DataType, Window]:
    """Whose events of which type, and which of them."""
    return user_id, data_type, within


@router.get("/{data_type}")
async def user_data(
    acting_on: OfUser,
    question: Annotated[tuple[str, DataType, Window], Depends(asked)],
    control: Control,
) -> UserDataPage:
    """A page of the user's events, in the order the hub took them; at most five seconds old."""
    page = await control.user_data.get_user_data(acting_on.tenant_id, *question)
    if not page.events and acting_on.caller.user_id != question[0]:
        await control.user_data.must_be_user(acting_on.tenant_id, question[0])
    return page


@router.get("", response_class=StreamingResponse)
async def export_user_data(acting_on: OfUser, user_id: UserInPath, control: Control) -> StreamingResponse:
    """Everything kept of the user, as lines of JSON."""
    if acting_on.caller.user_id != user_id:
        await control.user_data.must_be_user(acting_on.tenant_id, user_id)
    lines = export_user(control.database, acting_on.tenant_id, user_id)
    return StreamingResponse(lines, media_type=JSON_LINES)


@router.delete("")
async def erase_user_data(
    acting_on: Annotated[Acting, Depends(acting(Permission.DATA_ALL))], user_id: UserInPath, control: Control
) -> Erased:
    """Erase what is kept of the user, but for what a retention rule wants kept: the answer names both."""
    await control.user_data.must_be_user(acting_on.tenant_id, user_id)
    return await control.user_data.erase_user(acting_on.tenant_id, user_id, by=acting_on.caller.user_id)
