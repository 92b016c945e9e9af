"""Who is calling, as routes ask for it. The guard has verified the token before any route runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from deployments.front.pipeline import PRINCIPAL
from models.principal import Principal


async def caller_of(request: Request) -> Principal:
    """The verified principal."""
    principal: Principal = getattr(request.state, PRINCIPAL)
    return principal


Caller = Annotated[Principal, Depends(caller_of)]
