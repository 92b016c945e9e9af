"""Invitations into a tenant. Who accepts one has no token yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Response

from deployments.control.access import acting
from deployments.control.acting import Acting
from deployments.control.people.invitations import Acceptance, InvitationSent, NewInvitation
from deployments.control.services import Control
from deployments.front.handlers import documented
from models.access import Permission
from models.base import Frozen
from models.people import Invitation, User

router = APIRouter(tags=["invitations"])
accepting = APIRouter(tags=["invitations"], responses=documented(400, 401, 409, 413, 422, 500, 503))

ACCEPT: Final = "/invitations/accept"

Writer = Annotated[Acting, Depends(acting(Permission.USERS_WRITE))]
InvitationId = Annotated[str, Path(min_length=1, max_length=64)]


class InvitationList(Frozen):
    """Invitations that can still be accepted, the newest first."""

    invitations: Sequence[Invitation]


@router.post("/tenants/{tenant_id}/invitations", status_code=201)
async def invite(new: NewInvitation, on: Writer, control: Control) -> InvitationSent:
    """Invite somebody for a week. The token is shown this once."""
    return await control.invitations.invite(on, new)


@router.get("/tenants/{tenant_id}/invitations")
async def invitations(on: Writer, control: Control) -> InvitationList:
    """Invitations that wait."""
    return InvitationList(invitations=await control.invitations.waiting(on.tenant_id, now_ns=control.clock()))


@router.delete("/tenants/{tenant_id}/invitations/{invitation_id}", status_code=204)
async def withdraw_invitation(invitation_id: InvitationId, on: Writer, control: Control) -> Response:
    """Withdraw an invitation."""
    await control.invitations.withdraw(on, invitation_id)
    return Response(status_code=204)


@accepting.post(ACCEPT, status_code=201)
async def accept_invitation(accepted: Acceptance, control: Control) -> User:
    """Become a user with the password you choose."""
    return await control.invitations.accept(accepted)
