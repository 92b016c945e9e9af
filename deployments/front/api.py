"""What the hub's HTTP applications have in common: their errors, and how they are described."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from deployments.front.handlers import (
    documented,
    on_defect,
    on_http_exception,
    on_hub_error,
    on_invalid_request,
)
from models.errors import HubError, Problem

VERSION: Final = "1"
DOCS: Final = "/docs"
OPENAPI: Final = "/openapi.json"

_BEARER: Final = HTTPBearer(auto_error=False, bearerFormat="JWT")
_PROBLEMS: Final = documented(400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503, 504)
_HANDLERS: Final[dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]] = {
    HubError: on_hub_error,
    RequestValidationError: on_invalid_request,
    HTTPException: on_http_exception,
    Exception: on_defect,
}


class HubApi(FastAPI):
    """FastAPI whose description knows problems, which have a media type that response models cannot name, and
    an example of each body, by operation id.
    """

    examples: Mapping[str, Any] = MappingProxyType({})

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description."""
        description = super().openapi()
        description["components"]["schemas"][Problem.__name__] = Problem.model_json_schema()
        for operation in _operations(description):
            if operation["operationId"] in self.examples:
                content = operation["requestBody"]["content"]["application/json"]
                content["example"] = self.examples[operation["operationId"]]
        return description


def make_api(
    *,
    title: str,
    description: str,
    middleware: Sequence[Middleware],
    open_routers: Iterable[APIRouter],
    routers: Iterable[APIRouter],
    examples: Mapping[str, Any] = MappingProxyType({}),
) -> HubApi:
    """An application whose errors are problems; `open_routers` need no token, and the guard must agree."""
    app = HubApi(
        title=title,
        version=VERSION,
        description=description,
        docs_url=DOCS,
        openapi_url=OPENAPI,
        swagger_ui_oauth2_redirect_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=list(middleware),
        exception_handlers=_HANDLERS,
        generate_unique_id_function=_operation_id,
    )
    app.examples = examples
    for router in open_routers:
        app.include_router(router)
    for router in routers:
        app.include_router(router, dependencies=[Depends(_BEARER)], responses=_PROBLEMS)
    return app


def _operations(description: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in description["paths"].values():
        yield from operations.values()


def _operation_id(route: APIRoute) -> str:
    return route.name
