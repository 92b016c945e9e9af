"""The handles to the pools: how they come up, and how a call leaves with its ticket.

`get_deployment_handle` alone creates no router, and without a router nobody learns which replicas there are:
`_init` forces it to exist, after which Serve fills the load table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ray import serve
from ray.serve.exceptions import RayServeException

from deployments.router.names import pool_app
from deployments.router.replies import Reply
from deployments.router.transport import as_hub_error
from models.decision import Ticket
from models.errors import TicketRefused
from models.forecast import InferCall

_POLL_S: Final = 0.02
_RETRY_S: Final = 0.2


Answered = TypeVar("Answered")


class ServeResponse(Generic[Answered]):
    """A handle call on its way, over either transport."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def reply(self) -> Answered:
        try:
            reply: Answered = await self._response
        except Exception as error:
            raise as_hub_error(error) from error
        return reply

    def cancel(self) -> None:
        self._response.cancel()


@dataclass(frozen=True, slots=True)
class _Routes:
    """One pool's `infer` over each transport, and its `infer_many`."""

    by_value: Any
    by_reference: Any
    together: Any


class ServePools:
    """Pools that are Serve applications.

    `open` runs once, in the event loop of the caller's replica. `seen` tells whether any replica of a pool is
    in the load table.
    """

    def __init__(self, names: Sequence[str], *, by_reference_from: int, seen: Callable[[str], bool]) -> None:
        self._names = names
        self._by_reference_from = by_reference_from
        self._seen = seen
        self._routes: dict[str, _Routes] = {}
        self._connecting: list[asyncio.Task[None]] = []
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether `open` has ended: every pool has a handle, and its replicas were seen or waited for."""
        return self._ready

    async def open(self, *, seen_timeout_s: float) -> None:
        """Return when every pool's replicas are seen, or after `seen_timeout_s` as soon as some pool has any.

        A pool without a replica counts as empty until Serve tells otherwise; one whose application is not
        there yet is asked for until it is.
        """
        self._connecting = [asyncio.create_task(self._connect(name)) for name in self._names]
        deadline = asyncio.get_running_loop().time() + seen_timeout_s
        # Serve fills the load table from a thread of its own, which cannot wake this loop: hence a poll.
        while not self._enough(late=asyncio.get_running_loop().time() > deadline):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        self._ready = True

    async def close(self) -> None:
        """Stop asking for applications that are not there."""
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def send(self, call: InferCall, ticket: Ticket) -> ServeResponse[Reply]:
        routes = self._to(ticket)
        infer = routes.by_reference if call.nbytes >= self._by_reference_from else routes.by_value
        return ServeResponse(infer.remote(call, ticket=ticket))

    def send_many(self, calls: Sequence[InferCall], ticket: Ticket) -> ServeResponse[list[Reply]]:
        return ServeResponse(self._to(ticket).together.remote(calls, ticket=ticket))

    def _to(self, ticket: Ticket) -> _Routes:
        if ticket.pool not in self._routes:
            raise TicketRefused(f"pool {ticket.pool} is not one of {', '.join(self._names)}")
        return self._routes[ticket.pool]

    def _enough(self, *, late: bool) -> bool:
        for task in self._connecting:
            if task.done():
                task.result()  # raises what no retry can mend
        up = [name in self._routes and self._seen(name) for name in self._names]
        return all(up) or (late and any(up))

    async def _connect(self, name: str) -> None:
        handle = await _handle(pool_app(name))
        if not handle.is_initialized:
            handle._init()  # noqa: SLF001
        self._routes[name] = _Routes(
            by_value=handle.options(method_name="infer", _by_reference=False),
            by_reference=handle.options(method_name="infer", _by_reference=True),
            together=handle.options(method_name="infer_many", _by_reference=False),
        )


async def _handle(pool: str) -> Any:
    """The handle, as soon as Serve knows the pool. Asks off the loop, because asking blocks."""
    while True:
        for app in _apps(pool):
            try:
                return await asyncio.to_thread(serve.get_deployment_handle, pool, app)
            except (RayServeException, KeyError):
                continue
        await asyncio.sleep(_RETRY_S)


def _apps(pool: str) -> tuple[str, ...]:
    """Where a pool may be: in the caller's own application, or in one of its own."""
    try:
        return serve.get_replica_context().app_name, pool
    except RayServeException:  # called outside Serve, which has no application
        return (pool,)
