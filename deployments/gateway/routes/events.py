"""A user's events: saved to Kafka, and the caller's own read back page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from deployments.front.permits import HasEvents
from deployments.gateway.event_intake import NewEvent
from deployments.gateway.event_pages import EventPage
from deployments.gateway.services import Hub
from deployments.gateway.user_events import SavedEvent
from models.user_event import DataType

router = APIRouter(prefix="/api/v1/events", tags=["events"])

Cursor = Annotated[int, Query(ge=0, lt=2**63, description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("/{data_type}", status_code=201)
async def save_event(data_type: DataType, event: NewEvent, hub: Hub, caller: HasEvents) -> SavedEvent:
    """Save an event; answered when the log has it. With an `event_id` of yours a retry does no harm."""
    return await hub.events.save_user_event(caller, data_type, event)


@router.get("/{data_type}")
async def events(
    data_type: DataType, hub: Hub, caller: HasEvents, *, cursor: Cursor = 0, limit: Limit = 100
) -> EventPage:
    """The caller's own events, oldest first."""
    return await hub.events.get_user_data(caller, data_type, cursor=cursor, limit=limit)
