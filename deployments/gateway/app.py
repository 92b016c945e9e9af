"""The HTTP API of the data plane, put together from its services.

The same function makes the app that Ray Serve runs and the one that tests call over ASGI.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from deployments.gateway.pipeline import BoundedBody, Guarded, Measured, RateLimited
from deployments.gateway.problems import (
    documented,
    on_defect,
    on_http_exception,
    on_hub_error,
    on_invalid_request,
)
from deployments.gateway.routes import (
    analytics,
    decisions,
    discovery,
    events,
    halts,
    health,
    infer,
    models,
    recording,
    signals,
    subscriptions,
)
from deployments.gateway.services import Services
from models.errors import HubError, Problem

VERSION: Final = "1"
DOCS: Final = "/docs"
OPENAPI: Final = "/openapi.json"
ALWAYS_OPEN: Final = frozenset({health.LIVE, health.READY})

_ROUTERS: Final = (
    infer,
    models,
    decisions,
    analytics,
    recording,
    subscriptions,
    signals,
    halts,
    events,
    health,
    discovery,
)
_BEARER: Final = HTTPBearer(auto_error=False, bearerFormat="JWT")
_PROBLEMS: Final = documented(400, 401, 403, 404, 405, 413, 422, 429, 500, 503, 504)
_HANDLERS: Final[dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]] = {
    HubError: on_hub_error,
    RequestValidationError: on_invalid_request,
    HTTPException: on_http_exception,
    Exception: on_defect,
}


class HubApi(FastAPI):
    """FastAPI whose description knows problems: they have a media type that response models cannot name."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description."""
        description = super().openapi()
        description["components"]["schemas"][Problem.__name__] = Problem.model_json_schema()
        return description


def create_app(services: Services) -> FastAPI:
    """The app on these services. Its docs need a token like all else, unless they are made public."""
    docs = frozenset({DOCS, OPENAPI}) if services.public_docs else frozenset()
    app = HubApi(
        title="Central Hub",
        version=VERSION,
        description="Routed inference and per-user trading signals.",
        docs_url=DOCS,
        openapi_url=OPENAPI,
        swagger_ui_oauth2_redirect_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=_pipeline(services, open_paths=ALWAYS_OPEN | docs),
        exception_handlers=_HANDLERS,
        generate_unique_id_function=_operation_id,
    )
    app.state.services = services
    app.include_router(health.probes)
    for module in _ROUTERS:
        app.include_router(module.router, dependencies=[Depends(_BEARER)], responses=_PROBLEMS)
    return app


def _pipeline(services: Services, *, open_paths: frozenset[str]) -> list[Middleware]:
    return [
        Middleware(Measured, meter=services.meter, monotonic=services.monotonic),
        Middleware(Guarded, tokens=services.tokens, open_paths=open_paths),
        Middleware(RateLimited, limiter=services.limiter),
        Middleware(BoundedBody, max_bytes=services.max_body_bytes, timeout_s=services.body_timeout_s),
    ]


def _operation_id(route: APIRoute) -> str:
    return route.name
