"""The HTTP API of the data plane, put together from its services.

The same function makes the app that Ray Serve runs and the one that tests call over ASGI.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from deployments.front.api import DOCS, OPENAPI, make_api
from deployments.front.metered import Metered
from deployments.front.pipeline import BoundedBody, Guarded, Measured, RateLimited
from deployments.front.witnessed import Witnessed
from deployments.gateway.routes import (
    analytics,
    config,
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

ALWAYS_OPEN: Final = frozenset({health.LIVE, health.READY})

_PREFIX: Final = "/api/v1/"
_INFER: Final = f"{_PREFIX}infer"
_FEATURES: Final = {
    "infer": "inference",
    "route": "routing",
    "decisions": "routing",
    "routing": "routing",
    "models": "models",
    "subscriptions": "signals",
    "signals": "signals",
    "events": "events",
    "halts": "halts",
    "config": "config",
}
"""What calls are counted under, by the first part of their path."""

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
    config,
)


def create_app(services: Services) -> FastAPI:
    """The app on these services. Its docs need a token like all else, unless they are made public."""
    docs = frozenset({DOCS, OPENAPI}) if services.public_docs else frozenset()
    app = make_api(
        title="Central Hub",
        description="Routed inference and per-user trading signals.",
        middleware=_pipeline(services, open_paths=ALWAYS_OPEN | docs),
        open_routers=[health.probes],
        routers=[module.router for module in _ROUTERS],
    )
    app.state.services = services
    return app


def _pipeline(services: Services, *, open_paths: frozenset[str]) -> list[Middleware]:
    return [
        Middleware(Measured, meter=services.meter, monotonic=services.monotonic),
        Middleware(Guarded, tokens=services.tokens, open_paths=open_paths),
        Middleware(Witnessed, denials=services.denials),
        Middleware(RateLimited, limiter=services.limiter),
        Middleware(
            Metered, usage=services.usage, prefix=_PREFIX, features=_FEATURES, inferring=frozenset({_INFER})
        ),
        Middleware(BoundedBody, max_bytes=services.max_body_bytes, timeout_s=services.body_timeout_s),
    ]
