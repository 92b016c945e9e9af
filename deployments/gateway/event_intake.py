"""A new user event as it is sent, and what of it is believed: type, body and time, never who it is from."""

from __future__ import annotations

from random import Random
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from deployments.front.handlers import invalid_request
from models.access import Permission
from models.base import Frozen
from models.errors import BadValue, Forbidden, TooLarge
from models.ids import checked_user_id, random_id
from models.principal import Principal
from models.user_event import EVENT_KINDS, DataType, EventId, EventKind, UserEvent

OLDEST_S: Final = 86_400
AHEAD_S: Final = 5
"""How far the clocks of those who write may be ahead of the hub's."""
MAX_BYTES: Final = 64 << 10


class NewEvent(Frozen):
    """What is sent to save an event. With an `event_id` of the sender's a retry is harmless. `user_id` is for
    services that write about one of their tenant's users.
    """

    type: Annotated[str, Field(max_length=64)]
    body: dict[str, Any]
    occurred_ns: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    event_id: EventId | None = None
    user_id: Annotated[str, Field(max_length=64)] | None = None


def checked_event(
    principal: Principal, data_type: DataType, new: NewEvent, *, now_ns: int, rng: Random
) -> UserEvent:
    """The event as it will be written. InputError or Forbidden name the field that is wrong."""
    kind = EVENT_KINDS[data_type]
    if new.type not in kind.types:
        known = ", ".join(sorted(kind.types))
        raise BadValue(f"{data_type} has no such type; it has: {known}", field="type")
    return UserEvent(
        event_id=new.event_id or random_id(rng),
        tenant_id=principal.tenant_id,
        user_id=_user_of(principal, data_type, kind, new.user_id),
        type=new.type,
        occurred_ns=_checked_time(new.occurred_ns, now_ns),
        at_ns=now_ns,
        body=_checked_body(kind, new.body),
    )


def encoded(event: UserEvent) -> bytes:
    """The record's value; TooLarge beyond 64 KiB."""
    value = event.model_dump_json(by_alias=True).encode()
    if len(value) > MAX_BYTES:
        raise TooLarge(f"the event is larger than {MAX_BYTES} bytes", field="body")
    return value


def _user_of(principal: Principal, data_type: DataType, kind: EventKind, named: str | None) -> str:
    """Whose event it is: the caller's, or that of the user a service names within its own tenant."""
    trusted = principal.may(Permission.EVENTS_WRITE)
    if not (kind.by_user or trusted):
        raise Forbidden(
            f"{data_type} are written by services; this needs the role `tenant:service` or `admin`"
        )
    if named is None or named == principal.user_id:
        return principal.user_id
    if not trusted:
        raise Forbidden(
            "only the roles `tenant:service` and `admin` write about other users", field="user_id"
        )
    return checked_user_id(named)


def _checked_time(occurred_ns: int | None, now_ns: int) -> int:
    if occurred_ns is None:
        return now_ns
    if not now_ns - OLDEST_S * 10**9 <= occurred_ns <= now_ns + AHEAD_S * 10**9:
        raise BadValue(
            f"occurred_ns is more than {OLDEST_S // 3600} h ago, or more than {AHEAD_S} s ahead",
            field="occurred_ns",
        )
    return occurred_ns


def _checked_body(kind: EventKind, body: dict[str, Any]) -> dict[str, Any]:
    try:
        checked = kind.body.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise invalid_request([{**item, "loc": ("body", "body", *item["loc"])} for item in found]) from None
    return checked.model_dump(mode="json", exclude_none=True)
