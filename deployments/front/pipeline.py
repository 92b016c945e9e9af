"""What happens to every request before its route: it is measured, its caller is known and counted, and its
body is bounded. Plain ASGI, outermost first: `Measured`, `Guarded`, `RateLimited`, `BoundedBody`.

The guard stands before routing: a path that nobody thought of is closed, not open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.front.limits import RateLimiter
from deployments.front.problems import problem_response
from deployments.front.tokens import Tokens, bearer_of
from models.errors import HubError, Malformed, TooLarge
from models.metrics import Meter
from models.principal import Principal

PRINCIPAL: Final = "principal"
"""Where the guard leaves the caller's principal in the request's state."""
POLICY_VIOLATION: Final = 1008


class Measured:
    """Counts requests and their time by route template and status; `monotonic` is in seconds."""

    def __init__(self, app: ASGIApp, *, meter: Meter, monotonic: Callable[[], float]) -> None:
        self._app = app
        self._meter = meter
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, status = self._monotonic(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            elapsed_ms = (self._monotonic() - started_s) * 1000
            self._meter.count("hub_requests_total", {"route": route, "status": str(status)})
            self._meter.observe("hub_request_ms", {"route": route}, elapsed_ms)


class Guarded:
    """Lets nobody in without a valid token, except to the open paths. Headers that claim an identity are
    never looked at.
    """

    def __init__(self, app: ASGIApp, *, tokens: Tokens, open_paths: frozenset[str]) -> None:
        self._app = app
        self._tokens = tokens
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        if scope["type"] == "http" and route_path(scope) not in self._open:
            try:
                principal = await self._tokens.verify(
                    bearer_of(Headers(scope=scope).getlist("authorization"))
                )
            except HubError as error:
                await problem_response(error)(scope, receive, send)
                return
            scope.setdefault("state", {})[PRINCIPAL] = principal
        await self._app(scope, receive, send)


def route_path(scope: Scope) -> str:
    """The path below where the application is deployed."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class RateLimited:
    """Counts the caller's request, refuses it beyond the tier's rate, and says where the caller stands."""

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal | None = scope.get("state", {}).get(PRINCIPAL)
        if principal is None:
            await self._app(scope, receive, send)
            return
        admission = await self._limiter.admit(principal)

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(admission.headers())
            await send(message)

        refusal = admission.refusal()
        answer = problem_response(refusal) if refusal else self._app
        await answer(scope, receive, tell)


class BoundedBody:
    """Refuses a body that is larger than `max_bytes`, or takes longer than `timeout_s` to arrive."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except HubError as error:
            await problem_response(error)(scope, receive, send)
            return
        messages = iter([body])

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> Message:
        """The whole body as one message."""
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > self._max_bytes:
                        raise self._too_large()
                    if not message.get("more_body"):
                        return {"type": "http.request", "body": bytes(body), "more_body": False}
        except TimeoutError:
            raise Malformed(f"the body did not arrive within {self._timeout_s:g} s", field="body") from None
        return message

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._max_bytes} bytes", field="body")
