"""A recording of this gateway's decisions, for operators: the file that `hub replay` reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import Field

from deployments.front.handlers import documented
from deployments.front.permits import ReadsHub
from deployments.gateway.services import Hub
from deployments.router.recorder import HOUR_S
from models.base import Frozen
from models.errors import AlreadyRecording

router = APIRouter(prefix="/api/v1/routing", tags=["routing"])

JSON_LINES = "application/jsonl"


class RecordingWanted(Frozen):
    """For how long."""

    seconds: Annotated[float, Field(gt=0, le=HOUR_S)] = 30.0


@router.post(
    "/recording",
    response_class=StreamingResponse,
    responses={
        200: {"content": {JSON_LINES: {}}, "description": "Lines as they are recorded"},
        **documented(AlreadyRecording.http_status),
    },
)
async def recording(wanted: RecordingWanted, hub: Hub, _: ReadsHub) -> StreamingResponse:
    """Stream every decision of this gateway, and all that it depends on, until the time is up.

    The first line names the gateway. Hanging up ends the recording; what was received is a valid one.
    """
    chunks = hub.recorder.record(wanted.seconds, gateway=hub.gateway)
    first = await anext(chunks)
    return StreamingResponse(_with(first, chunks), media_type=JSON_LINES)


async def _with(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """All chunks; hanging up closes the recording at once."""
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
