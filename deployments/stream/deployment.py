"""The stream as a Serve application of its own: an ingress beside the gateway's (`docs/decisions/0016`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from ray import serve
from ray.serve import Application

from deployments.router.draining import shutting_down
from deployments.stream.app import StreamApp
from deployments.stream.config import StreamConfig
from deployments.stream.opening import open_stream

ROUTE: Final = "/api/v1/stream"
"""Where the application is deployed."""


class Stream:
    """One replica: many sockets, one reader of the log. Its health is the reader's."""

    async def __init__(self, config: StreamConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        self._stream = await open_stream(config, name=serve.get_replica_context().replica_id.unique_id)
        self._draining = asyncio.create_task(self._drain())

    def __serve_build_asgi_app__(self) -> StreamApp:
        """The app, once it is open; Serve asks for it after the constructor."""
        return self._stream.app

    async def status(self) -> Mapping[str, Any]:
        """How many sockets this replica serves."""
        return self._stream.app.status()

    async def check_health(self) -> None:
        """Raises what ended the reader for good, so that Serve starts a new replica."""
        self._stream.check()

    async def __del__(self) -> None:
        """Give the connections back."""
        self._draining.cancel()
        await self._stream.close()

    async def _drain(self) -> None:
        """A socket is a request that never ends by itself: let go of all of them as soon as we are to end."""
        await shutting_down()
        self._stream.app.leave()


def build_stream(config: StreamConfig) -> Application:
    """The application of the stream; deploy it at `ROUTE`."""
    stream = serve.deployment(
        name="Stream",
        num_replicas=config.replicas,
        max_ongoing_requests=config.max_sockets,
        max_queued_requests=config.max_sockets,
        graceful_shutdown_timeout_s=config.drain_s + 5.0,
        graceful_shutdown_wait_loop_s=0.2,
        ray_actor_options={"num_cpus": config.num_cpus},
    )(serve.ingress()(Stream))
    return stream.bind(config)
