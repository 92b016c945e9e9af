"""Has every denied request of a known caller noted: behind the guard, which knows whose it is, and before the
limiter, so that nobody is denied unseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.front.denials import DenialLog
from deployments.front.pipeline import PRINCIPAL, route_path
from models.principal import Principal

_FORBIDDEN: Final = 403
_HIDDEN: Final = "hidden"
_WRITTEN: Final = "denial_written"


def written(request: Request) -> None:
    """This denial is in the audit log already."""
    setattr(request.state, _WRITTEN, True)


def hide(request: Request) -> None:
    """The answer says that there is nothing; in truth it is another's, and the caller is denied it."""
    setattr(request.state, _HIDDEN, True)


class Witnessed:
    """A request is denied if it is answered with 403, or its route has called `hide`; it is noted unless the
    route has called `written`.
    """

    def __init__(self, app: ASGIApp, *, denials: DenialLog) -> None:
        self._app = app
        self._denials = denials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal | None = scope.get("state", {}).get(PRINCIPAL)
        if principal is None:
            await self._app(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and _denied(message["status"], scope):
                what = f"{scope['method']} {route_path(scope)}"
                self._denials.note(principal, f"access.{_permission(scope)}", what)
            await send(message)

        await self._app(scope, receive, watched)


def _denied(status: int, scope: Scope) -> bool:
    state = scope["state"]
    return (status == _FORBIDDEN or state.get(_HIDDEN, False)) and not state.get(_WRITTEN, False)


def _permission(scope: Scope) -> str:
    """What the route asks for; every route behind the guard asks for something."""
    return next(_asked(getattr(scope.get("route"), "dependant", None)), "unknown")


def _asked(dependant: Any) -> Iterator[str]:
    for one in getattr(dependant, "dependencies", ()):
        if permission := getattr(one.call, "permission", None):
            yield str(permission)
        yield from _asked(one)
