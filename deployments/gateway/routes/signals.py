"""The caller's own signals: those missed, and where one came from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from deployments.front.permits import HasSignals
from deployments.gateway.backfill import SignalExplanation, SignalPage
from deployments.gateway.services import Hub

router = APIRouter(prefix="/api/v1/signals", tags=["signals"])

SinceSeq = Annotated[int, Query(ge=0, le=2**53, description="The last sequence number the caller has")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=40, description="`next_cursor` of the page before")]
Sequence = Annotated[int | None, Query(ge=1, le=2**53, description="The signal's sequence number, if known")]


@router.get("")
async def signals(
    hub: Hub, caller: HasSignals, *, since_seq: SinceSeq = 0, limit: Limit = 100, cursor: Cursor = None
) -> SignalPage:
    """Signals after a sequence number, oldest first."""
    return await hub.backfill.since(caller, since_seq, limit=limit, cursor=cursor)


@router.get("/{delivery_id}/explain")
async def explain_signal(
    delivery_id: str, hub: Hub, caller: HasSignals, sequence: Sequence = None
) -> SignalExplanation:
    """A signal with the prediction and the decision it came from."""
    return await hub.backfill.explain(caller, delivery_id, sequence=sequence)
