"""What was decided for a request of the caller, and why."""

from __future__ import annotations

from fastapi import APIRouter

from deployments.front.permits import Infers
from deployments.gateway.services import Hub
from models.outcome import RecordedDecision

router = APIRouter(prefix="/api/v1/decisions", tags=["inference"])


@router.get("/{decision_id}")
async def decision(decision_id: str, hub: Hub, caller: Infers) -> RecordedDecision:
    """The whole record of a decision made for the caller within the last day, and what became of it."""
    return await hub.decisions.recall(caller, decision_id)
