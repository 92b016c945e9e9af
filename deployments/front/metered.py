"""Counts the calls of an HTTP application by tenant, user and feature: behind the guard and the limiter, so
that what was refused there counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.front.metering import UsageMeter
from deployments.front.pipeline import PRINCIPAL
from models.principal import Principal
from models.usage import Measure

OTHER: Final = "other"
_OURS: Final = 500
_DONE: Final = range(200, 300)


class Metered:
    """A call counts unless it failed for a reason of the hub's own (5xx).

    `features` names what a path is for by its first part below `prefix`; `inferring` are the paths whose
    answers are inferences.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        usage: UsageMeter,
        prefix: str,
        features: Mapping[str, str],
        inferring: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._usage = usage
        self._prefix = prefix
        self._features = features
        self._inferring = inferring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal | None = scope.get("state", {}).get(PRINCIPAL)
        if principal is None:
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < _OURS:
                self._count(principal, scope, message["status"])
            await send(message)

        await self._app(scope, receive, counted)

    def _count(self, principal: Principal, scope: Scope, status: int) -> None:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        feature = self._features.get(path.removeprefix(self._prefix).partition("/")[0], OTHER)
        self._usage.count(principal, feature, Measure.CALLS)
        if path in self._inferring and status in _DONE:
            self._usage.count(principal, feature, Measure.INFERENCES)
