"""What this gateway's routing came to, for operators."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query

from deployments.gateway.access import Admin
from deployments.gateway.services import Hub
from models.base import Frozen
from routing.trials.analytics import MINUTES_KEPT, Breakdown, Breaking
from routing.trials.running import TrialReport

router = APIRouter(prefix="/api/v1/routing", tags=["routing"])

AT_ONCE: Final = 16
"""Steps of a breakdown without a pause: about a millisecond."""

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
        since_start=await _paced(figures.since_start()),
        recent=await _paced(figures.recent(now_ns, minutes=minutes)),
        experiments=hub.observer.experiments(),
    )


async def _paced(steps: Breaking) -> Breakdown:
    """What the steps come to; the loop answers other requests between every few of them."""
    taken = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Breakdown = end.value
            return made
        taken += 1
        if taken % AT_ONCE == 0:
            await asyncio.sleep(0)
