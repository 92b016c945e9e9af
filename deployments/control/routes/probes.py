"""Whether the control plane answers."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

router = APIRouter(tags=["health"])

LIVE: Final = "/health/live"


@router.get(LIVE, response_class=Response)
async def live() -> Response:
    """200 while the process answers."""
    return Response(status_code=200)
