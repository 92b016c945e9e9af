"""The stream as an ASGI app: one path, WebSockets only. Refusals are answered before the upgrade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from deployments.front.problems import problem_response
from deployments.stream.ending import Code
from deployments.stream.entrance import Admitted, Entrance
from deployments.stream.session import Session, Tools
from deployments.stream.switchboard import SocketLimits, Switchboard
from models.errors import HubError, Malformed, NotFound, Shed

_RETRY_AFTER_S = 1.0
FEATURE = "stream"
"""What sockets are counted under."""


class StreamApp:
    """Takes sockets in, and counts them out. `leave` ends all of them and lets nobody in any more."""

    def __init__(
        self, entrance: Entrance, limits: SocketLimits, switchboard: Switchboard, tools: Tools
    ) -> None:
        self._entrance = entrance
        self._limits = limits
        self._switchboard = switchboard
        self._tools = tools
        self._leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._open(scope, receive, send)
        else:
            wanted = Malformed("this address speaks WebSocket; send the upgrade headers", field="upgrade")
            await problem_response(wanted)(scope, receive, send)

    def leave(self) -> None:
        """This replica ends: its clients go on at another."""
        self._leaving = True
        for session in self._switchboard:
            session.end(Code.GOING_AWAY)

    def status(self) -> Mapping[str, Any]:
        """How many sockets are open, and whether more may be."""
        return {"sockets": len(self._switchboard), "leaving": self._leaving}

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            admitted = await self._admit(scope)
        except HubError as error:
            await _refuse(error, scope, receive, send)
            return
        try:
            await send({"type": "websocket.accept", "subprotocol": admitted.subprotocol})
            await self._run(Session(admitted.wish, admitted.bearer, self._tools), receive, send)
        finally:
            self._limits.give_back(admitted.wish.principal)

    async def _admit(self, scope: Scope) -> Admitted:
        if scope["path"].removeprefix(scope.get("root_path", "")).strip("/"):
            raise NotFound("there is nothing at this address")
        admitted = await self._entrance.admit(scope)
        if self._leaving:
            raise Shed("this replica is being replaced; connect again", retry_after_s=_RETRY_AFTER_S)
        self._limits.take(admitted.wish.principal)
        return admitted

    async def _run(self, session: Session, receive: Receive, send: Send) -> None:
        self._switchboard.join(session)
        self._tools.usage.opened(session.principal, FEATURE)
        self._count_sockets()
        reason = Code.FAILED.name.lower()
        try:
            reason = await session.run(receive, send)
        finally:
            self._switchboard.leave(session)
            self._tools.usage.closed(session.principal, FEATURE)
            self._count_sockets()
            self._tools.meter.count("hub_stream_closed_total", {"reason": reason})

    def _count_sockets(self) -> None:
        self._tools.meter.gauge("hub_stream_sockets", {}, len(self._switchboard))


async def _refuse(error: HubError, scope: Scope, receive: Receive, send: Send) -> None:
    """With status and problem, where the server can; else with the 403 that every refused upgrade gets."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await problem_response(error)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008})


async def _lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
