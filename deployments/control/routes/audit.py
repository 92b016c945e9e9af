"""The audit: who did what, and whether the log of it is what it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from deployments.control.access import acting, holding
from deployments.control.acting import Acting
from deployments.control.audit.desk import place_of
from deployments.control.pages import Most
from deployments.control.services import Control
from models.access import Permission
from models.audit import AuditRecord, AuditReport, Outcome, SignedHead
from models.base import Frozen
from storage.postgres.audit import Wanted

router = APIRouter(tags=["audit"])

Reader = Annotated[Acting, Depends(acting(Permission.AUDIT_READ))]
Text = Annotated[str | None, Query(max_length=512, pattern=r"^[^\x00]*$")]
BIGGEST = 2**63 - 1


async def wanted(actor: Text = None, action: Text = None, outcome: Outcome | None = None) -> Wanted:
    """Which entries: of an actor, of an action as `users.create`, done or denied."""
    return Wanted(actor, action, outcome)


Which = Annotated[Wanted, Depends(wanted)]


class AuditPage(Frozen):
    """Entries in their order; `next` is the `after` of the next page."""

    entries: Sequence[AuditRecord]
    next: int | None = None


class PlatformAuditPage(Frozen):
    """Entries of all tenants by time; `next` is the `after` of the next page."""

    entries: Sequence[AuditRecord]
    next: str | None = None


class AuditHead(Frozen):
    """How far a log has come."""

    tenant_id: str
    sequence: int
    hash: str


class SignedHeads(Frozen):
    """What was signed just now, and the keys that it is verified with."""

    heads: Sequence[SignedHead]
    public_keys: Sequence[str]


@router.get("/tenants/{tenant_id}/audit")
async def audit(
    on: Reader,
    control: Control,
    which: Which,
    *,
    after: Annotated[int, Query(ge=0, le=BIGGEST, description="Begin behind this sequence")] = 0,
    most: Most = 100,
) -> AuditPage:
    """What was done and denied in a tenant, oldest first."""
    found = await control.audit.page(on.tenant_id, which, after=after, most=most)
    return AuditPage(entries=found, next=found[-1].sequence if len(found) == most else None)


@router.get("/tenants/{tenant_id}/audit/head")
async def audit_head(on: Reader, control: Control) -> AuditHead:
    """The last entry's sequence and hash: keep them elsewhere, and nobody can rewrite the log unseen."""
    at = await control.audit.head(on.tenant_id)
    return AuditHead(tenant_id=on.tenant_id, sequence=at.sequence, hash=at.hash.hex())


@router.get("/tenants/{tenant_id}/audit/verify")
async def verify_audit(on: Reader, control: Control) -> AuditReport:
    """Whether the log is what it was: no entry altered, missing, moved, cut off or written anew."""
    return await control.audit.verify(on.tenant_id)


@router.get("/platform/audit", dependencies=[Depends(holding(Permission.AUDIT_PLATFORM))])
async def platform_audit(
    control: Control,
    which: Which,
    *,
    after: Annotated[str, Query(max_length=128, description="The `next` of the last page")] = "",
    most: Most = 100,
) -> PlatformAuditPage:
    """What was done and denied in all tenants, by time."""
    found = await control.audit.platform_page(which, after=after, most=most)
    return PlatformAuditPage(entries=found, next=place_of(found[-1]) if len(found) == most else None)


@router.get("/platform/audit/verify", dependencies=[Depends(holding(Permission.AUDIT_PLATFORM))])
async def verify_platform_audit(control: Control) -> AuditReport:
    """Whether the logs of all tenants are what they were."""
    return await control.audit.verify_all()


@router.post("/platform/audit/heads", dependencies=[Depends(holding(Permission.AUDIT_PLATFORM))])
async def sign_audit_heads(control: Control) -> SignedHeads:
    """Sign, now, how far each log has come, and keep that outside of the database."""
    return SignedHeads(heads=await control.audit.sign(), public_keys=control.audit.public_keys)
