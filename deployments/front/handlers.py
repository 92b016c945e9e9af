"""Every error as `application/problem+json` (RFC 9457), from the one table in `models/errors.py`.

Nothing the caller sent is echoed back except names of fields: it may be large, secret, or no JSON at all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deployments.front.problems import MEDIA_TYPE, problem_response
from models.errors import (
    BadValue,
    Forbidden,
    HubError,
    InputError,
    Malformed,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooLarge,
)

_LOG = logging.getLogger(__name__)

_MAX_LISTED: Final = 20
_OF_STATUS: Final[Mapping[int, tuple[type[HubError], str]]] = {
    400: (Malformed, "the request could not be read"),
    403: (Forbidden, "this is not allowed"),
    404: (NotFound, "there is nothing at this address"),
    405: (MethodNotAllowed, "this address does not take this method; the Allow header names those it takes"),
    413: (TooLarge, "the body is too large"),
}


async def on_hub_error(_: Request, error: Exception) -> Response:
    """A deliberate error of ours."""
    assert isinstance(error, HubError)  # noqa: S101 - registered for this type
    return problem_response(error)


async def on_invalid_request(_: Request, error: Exception) -> Response:
    """What FastAPI and pydantic found wrong with path, query or body."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    return problem_response(invalid_request(error.errors()))


async def on_http_exception(_: Request, error: Exception) -> Response:
    """What the framework refuses by itself: unknown path, wrong method, unreadable body."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    kind, text = _OF_STATUS.get(error.status_code, (HubError, "the request failed"))
    response = problem_response(kind(text))
    response.headers.update(error.headers or {})
    return response


async def on_defect(_: Request, error: Exception) -> Response:
    """Anything else is a defect of the hub: logged in full, told in one sentence."""
    _LOG.error("unexpected error in a request", exc_info=error)
    return problem_response(HubError("the hub failed; the operator's log says why"))


def invalid_request(found: Sequence[Mapping[str, Any]]) -> InputError:
    """One error for all that was found; `field` names the first, `details.errors` the first twenty."""
    if any(item["type"] == "json_invalid" for item in found):
        return Malformed("the body is not valid JSON", field="body")
    listed = [{"field": field_of(item["loc"]), "message": _message(item)} for item in found[:_MAX_LISTED]]
    first = listed[0]
    return BadValue(f"{first['field']}: {first['message']}", field=first["field"], details={"errors": listed})


def field_of(location: Sequence[str | int]) -> str:
    """`("body", "inputs", "window", 3)` as `inputs.window[3]`; the part itself if nothing follows it."""
    part, *path = location
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}"
    return name.lstrip(".") or str(part)


def _message(item: Mapping[str, Any]) -> str:
    message = str(item["msg"])
    if item["loc"] == ("body",) and item["type"] != "missing":
        return f"{message}; send a JSON object with `Content-Type: application/json`"
    return message


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How problems of these statuses appear in the OpenAPI description."""
    reference = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": reference}}}
        for status in statuses
    }
