"""An error as `application/problem+json` (RFC 9457), from the one table in `models/errors.py`."""

from __future__ import annotations

import math
from typing import Final

import orjson
from starlette.responses import Response

from models.errors import HubError, Unauthenticated, problem_of

MEDIA_TYPE: Final = "application/problem+json"


def problem_response(error: HubError) -> Response:
    """The response of an error, with the headers its status asks for."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = orjson.dumps(problem_of(error).model_dump(), default=str)
    return Response(body, status_code=error.http_status, headers=headers, media_type=MEDIA_TYPE)
