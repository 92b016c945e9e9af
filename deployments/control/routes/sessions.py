"""Login sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from deployments.control.access import acting
from deployments.control.acting import Acting
from deployments.control.pages import After, Most, following
from deployments.control.services import Control
from models.access import Permission
from models.base import Frozen
from models.credentials import LoginSession

router = APIRouter(prefix="/tenants/{tenant_id}/sessions", tags=["sessions"])

On = Annotated[Acting, Depends(acting(Permission.SESSIONS_OWN))]
Whose = Annotated[str | None, Query(max_length=64, description="Of this user alone, for who may see all")]
SessionId = Annotated[str, Path(min_length=1, max_length=64, description="The session's id")]


class SessionPage(Frozen):
    """Sessions by id; `next` is where the next page begins."""

    sessions: Sequence[LoginSession]
    next: str | None = None


@router.get("")
async def sessions(
    on: On, control: Control, *, user_id: Whose = None, after: After = "", most: Most = 100
) -> SessionPage:
    """Sessions that go on: one's own, and with `sessions:all` everybody's."""
    page = await control.auth.sessions.page(on, user_id=user_id, after=after, most=most)
    return SessionPage(sessions=page, next=following([one.session_id for one in page], most))


@router.delete("/{session_id}", status_code=204)
async def end_session(session_id: SessionId, on: On, control: Control) -> Response:
    """End a session; its access tokens are refused everywhere within a second."""
    await control.auth.sessions.end(on, session_id)
    return Response(status_code=204)
