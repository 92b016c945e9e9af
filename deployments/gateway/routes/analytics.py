"""What this gateway's routing came to, for operators."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response

from deployments.front.permits import ReadsHub
from deployments.gateway.services import Hub
from models.base import Frozen
from routing.trials.analytics import MINUTES_KEPT, Breakdown, Breaking, Part
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


@router.get("/analytics", response_model=RoutingAnalytics)
async def analytics(hub: Hub, _: ReadsHub, minutes: Minutes = 5) -> Response:
    """Picks, completion, kept promises, regret, sheds and hedges, by model, replica, profile and tier."""
    now_ns, figures = hub.clock(), hub.observer.analytics
    content = {
        "gateway": hub.gateway,
        "uptime_s": (now_ns - hub.observer.began_ns) / 1e9,
        "minutes": minutes,
        "since_start": await _rendered(figures.since_start()),
        "recent": await _rendered(figures.recent(now_ns, minutes=minutes)),
        "experiments": [_json(report) for report in hub.observer.experiments()],
    }
    return Response(orjson.dumps(content), media_type="application/json")


async def _rendered(steps: Breaking) -> dict[str, Any]:
    """A breakdown of ready JSON. The loop answers other requests between every few steps, and of what each
    step made only the text is kept: a heap full of figures would set off the garbage collector.
    """
    fields = Part.none()
    for taken, part in enumerate(steps, start=1):
        if part is not None:
            part.put(fields, _json(part.figures))
        if taken % AT_ONCE == 0:
            await asyncio.sleep(0)
    return fields


def _json(value: Frozen) -> orjson.Fragment:
    return orjson.Fragment(value.model_dump_json())
