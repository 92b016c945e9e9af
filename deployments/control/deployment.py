"""The control plane as a Serve application of its own, so that a slow call here delays no inference."""

from __future__ import annotations

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from deployments.control.app import create_app
from deployments.control.config import ControlConfig
from deployments.control.opening import open_control


class ControlPlane:
    """One replica. Its health is that of the tasks beside its routes."""

    async def __init__(self, config: ControlConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        self._control = await open_control(config, name=serve.get_replica_context().replica_id.unique_id)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The app, once the services are open; Serve asks for it after the constructor."""
        return create_app(self._control.services)

    async def check_health(self) -> None:
        """Raises what ended a task for good, so that Serve starts a new replica."""
        self._control.check()

    async def __del__(self) -> None:
        """Give the connections back."""
        await self._control.close()


def build_control(config: ControlConfig) -> Application:
    """The application of the control plane; deploy it at `ROUTE`."""
    control = serve.deployment(
        name="ControlPlane",
        num_replicas=config.replicas,
        max_ongoing_requests=config.max_ongoing_requests,
        max_queued_requests=config.max_ongoing_requests,
        ray_actor_options={"num_cpus": config.num_cpus},
    )(serve.ingress()(ControlPlane))
    return control.bind(config)
