"""The HTTP API of the control plane. Its paths are relative to where it is deployed: `/api/v1/control`."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from deployments.control.examples import EXAMPLES
from deployments.control.routes import (
    audit,
    auth,
    health,
    invitations,
    keys,
    platform_config,
    probes,
    resources,
    sessions,
    tenant_config,
    tenants,
    usage,
    user_config,
    user_data,
    users,
)
from deployments.control.services import ControlServices
from deployments.front.api import DOCS, OPENAPI, make_api
from deployments.front.metered import Metered
from deployments.front.pipeline import BoundedBody, Guarded, Measured, RateLimited
from deployments.front.witnessed import Witnessed

ROUTE: Final = "/api/v1/control"
"""Where the application is deployed."""

OPEN_ROUTERS: Final = (probes.router, invitations.accepting, auth.coming_in)
"""Whoever comes here has no token yet; each path is named in `ALWAYS_OPEN`, or the guard keeps it shut."""
ROUTERS: Final = (
    tenants.router,
    users.router,
    invitations.router,
    audit.router,
    usage.router,
    resources.router,
    tenant_config.router,
    user_config.router,
    platform_config.router,
    user_data.router,
    health.router,
    auth.router,
    sessions.router,
    keys.router,
)
_FEATURES: Final = {"tenants": "control", "platform": "control", "me": "control", "config": "config"}
"""What calls are counted under, by the first part of their path."""
ALWAYS_OPEN: Final = frozenset(
    {probes.LIVE, invitations.ACCEPT, auth.LOGIN, auth.REFRESH, auth.LOGOUT, auth.KEY_SET}
)


def create_app(services: ControlServices) -> FastAPI:
    """The app on these services. Its docs need a token like all else, unless they are made public."""
    docs = frozenset({DOCS, OPENAPI}) if services.public_docs else frozenset()
    app = make_api(
        title="Central Hub, control plane",
        description="Tenants, people and access; config, quotas, audit and usage.",
        middleware=_pipeline(services, open_paths=ALWAYS_OPEN | docs),
        open_routers=OPEN_ROUTERS,
        routers=ROUTERS,
        examples=EXAMPLES,
    )
    app.state.services = services
    return app


def _pipeline(services: ControlServices, *, open_paths: frozenset[str]) -> list[Middleware]:
    return [
        Middleware(Measured, meter=services.meter, monotonic=services.monotonic),
        Middleware(Guarded, tokens=services.tokens, open_paths=open_paths),
        Middleware(Witnessed, denials=services.denials),
        Middleware(RateLimited, limiter=services.limiter),
        Middleware(Metered, usage=services.metering, prefix="/", features=_FEATURES),
        Middleware(BoundedBody, max_bytes=services.max_body_bytes, timeout_s=services.body_timeout_s),
    ]
