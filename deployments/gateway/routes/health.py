"""Health: two open probes without a body for balancers, and detail for those with a token."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from fastapi import APIRouter, Response

from deployments.front.permits import ReadsModels
from deployments.gateway.health import CHECK_TIMEOUT_S, HealthReport, TopicsReport
from deployments.gateway.services import Hub
from models.errors import MessagingError

probes = APIRouter(tags=["health"])
router = APIRouter(tags=["health"])

LIVE: Final = "/health/live"
READY: Final = "/health/ready"


@probes.get(LIVE, response_class=Response)
async def live() -> Response:
    """200 while the process answers."""
    return Response(status_code=200)


@probes.get(READY, response_class=Response, responses={503: {"description": "Not yet"}})
async def ready(hub: Hub) -> Response:
    """200 once requests may come, 503 before."""
    return Response(status_code=200 if await hub.health.ready() else 503)


@router.get("/health")
async def health(hub: Hub, caller: ReadsModels) -> HealthReport:
    """Everything this gateway leans on, one check each, and what is halted."""
    report = await hub.health.report()
    with contextlib.suppress(MessagingError, TimeoutError):  # then as they were read last
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await hub.halts.in_force()
    return report.model_copy(update={"halts": hub.halts.concerning(caller)})


@router.get("/api/health/kafka/topics")
async def kafka_topics_health(hub: Hub, _: ReadsModels) -> TopicsReport:
    """The hub's topics against those of the broker."""
    return await hub.health.topics()
