"""What this gateway's routing came to, for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from deployments.gateway.access import Admin
from deployments.gateway.services import Hub
from models.base import Frozen
from routing.trials.analytics import MINUTES_KEPT, Breakdown
from routing.trials.running import TrialReport

router = APIRouter(prefix="/api/v1/routing", tags=["routing"])

Minutes = Annotated[int, Query(ge=1, le=MINUTES_KEPT, description="How far back `recent` goes")]


class RoutingAnalytics(Frozen):
    """Figures of one gateway, and of no other: `gateway` says which, `uptime_s` since when it counts.

    `recent` are the minute that is running and those before it, `minutes` in all.
    """

    gateway: str
    uptime_s: float
    minutes: int
    since_start: Breakdown
    recent: Breakdown
    experiments: tuple[TrialReport, ...]


@router.get("/analytics")
async def analytics(hub: Hub, _: Admin, minutes: Minutes = 5) -> RoutingAnalytics:
    """Picks, completion, kept promises, regret, sheds and hedges, by model, replica, profile and tier."""
    now_ns, figures = hub.clock(), hub.observer.analytics
    return RoutingAnalytics(
        gateway=hub.gateway,
        uptime_s=(now_ns - hub.observer.began_ns) / 1e9,
        minutes=minutes,
        since_start=figures.since_start(),
        recent=figures.recent(now_ns, minutes=minutes),
        experiments=hub.observer.experiments(),
    )
