"""The HTTP API of the control plane. Its paths are relative to where it is deployed: `/api/v1/control`."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from deployments.control.routes import probes, tenants
from deployments.control.services import ControlServices
from deployments.front.api import DOCS, OPENAPI, make_api
from deployments.front.pipeline import BoundedBody, Guarded, Measured, RateLimited

ROUTE: Final = "/api/v1/control"
"""Where the application is deployed."""

OPEN_ROUTERS: Final = (probes.router,)
"""Whoever comes here has no token yet; each path is named in `ALWAYS_OPEN`, or the guard keeps it shut."""
ROUTERS: Final = (tenants.router,)
ALWAYS_OPEN: Final = frozenset({probes.LIVE})


def create_app(services: ControlServices) -> FastAPI:
    """The app on these services. Its docs need a token like all else, unless they are made public."""
    docs = frozenset({DOCS, OPENAPI}) if services.public_docs else frozenset()
    app = make_api(
        title="Central Hub, control plane",
        description="Tenants, people and access; config, quotas, audit and usage.",
        middleware=_pipeline(services, open_paths=ALWAYS_OPEN | docs),
        open_routers=OPEN_ROUTERS,
        routers=ROUTERS,
    )
    app.state.services = services
    return app


def _pipeline(services: ControlServices, *, open_paths: frozenset[str]) -> list[Middleware]:
    return [
        Middleware(Measured, meter=services.meter, monotonic=services.monotonic),
        Middleware(Guarded, tokens=services.tokens, open_paths=open_paths),
        Middleware(RateLimited, limiter=services.limiter),
        Middleware(BoundedBody, max_bytes=services.max_body_bytes, timeout_s=services.body_timeout_s),
    ]
