"""Requests made from the control plane's own description, sent over HTTP: every answer is one it promises.

`HUB_FUZZ_EXAMPLES=140` makes it ten thousand cases over all operations.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from deployments.control.app import create_app
from serve_app.launch import free_port
from tests.contracts.control.matrix import NEEDS, OPEN
from tests.support.control import ControlHub, control_hub, new_tenant
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
    use_after_free,
]
_EXAMPLES: Final = int(os.environ.get("HUB_FUZZ_EXAMPLES", "40"))
_SLOW: Final = frozenset({"POST /auth/login", "POST /invitations/accept", "POST /auth/password"})
"""Each case costs a password's hash."""


class Running:
    """The control plane behind a real HTTP server, on an event loop of its own."""

    def __init__(self, postgres: PostgresServer) -> None:
        self._postgres = postgres
        self._port = free_port()
        self._ready = threading.Event()
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60)

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        with self._postgres.clone() as config:
            async with control_hub(config) as hub:
                await self._furnish(hub)
                server = uvicorn.Server(
                    uvicorn.Config(create_app(hub.services), port=self._port, log_level="error")
                )
                serving = asyncio.create_task(server.serve())
                await eventually(lambda: server.started)
                self._ready.set()
                await self._ended.wait()
                server.should_exit = True
                await serving

    async def _furnish(self, hub: ControlHub) -> None:
        self.headers = hub.auth()
        made = await hub.client.post("/tenants", json=new_tenant(), headers=self.headers)
        assert made.status_code == 201


@pytest.fixture(scope="module")
def running(postgres_run: PostgresServer) -> Iterator[Running]:
    """Furnished with one tenant."""
    control = Running(postgres_run)
    control.start()
    yield control
    control.stop()


@pytest.fixture(scope="module")
def description(running: Running) -> Any:
    """The API as it describes itself."""
    return schemathesis.openapi.from_url(f"{running.url}/openapi.json")


@pytest.mark.slow
@pytest.mark.parametrize("operation", sorted(OPEN | NEEDS.keys()))
def test_keeps_its_own_description(operation: str, description: Any, running: Running) -> None:
    """No 5xx, no undescribed status, type or body; nothing works without a token or after its end."""
    method, path = operation.split()
    examples = max(1, _EXAMPLES // 4) if operation in _SLOW else _EXAMPLES

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=description[path][method].as_strategy())
    def ask(case: Any) -> None:
        case.call_and_validate(headers=running.headers, checks=CHECKS)

    ask()
