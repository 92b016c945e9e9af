"""The gateway as a Serve application: the HTTP ingress of the data plane. All it does is start and stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.gateway.app import create_app
from deployments.gateway.config import GatewayConfig
from deployments.gateway.opening import open_gateway


class Gateway:
    """One replica of the HTTP API. Its health is that of the tasks that keep it informed."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: GatewayConfig, *_beside: DeploymentHandle[Any]
    ) -> None:
        name = serve.get_replica_context().replica_id.unique_id
        self._gateway = await open_gateway(config, name=name)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The app, once the services are open; Serve asks for it after the constructor."""
        return create_app(self._gateway.services)

    async def check_health(self) -> None:
        """Raises what ended a task for good, so that Serve starts a new replica."""
        self._gateway.check()

    async def __del__(self) -> None:
        """Give the connections back."""
        await self._gateway.close()


def build_gateway(config: GatewayConfig, *, beside: Sequence[Application] = ()) -> Application:
    """The application of the gateway; deploy it at `/`. `beside` are rooms that Serve deploys with it."""
    gateway = serve.deployment(
        name="Gateway",
        num_replicas=config.replicas,
        max_ongoing_requests=config.max_ongoing_requests,
        max_queued_requests=config.max_ongoing_requests,
        ray_actor_options={"num_cpus": config.num_cpus},
    )(serve.ingress()(Gateway))
    return gateway.bind(config, *beside)
