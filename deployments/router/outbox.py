"""Calls due together travel as one: what is decided within one iteration of the event loop for the same
replica and model leaves as one handle call, and comes back as one.

A handle call costs far more than what it carries. Only calls for one model share one, because all of them
wait for the last reply; where they arrive, they run as one, too. A call that is alone leaves as it is, with
the iteration after the one it was made in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.router.ports import BulkPools, Response
from deployments.router.replies import Reply
from models.decision import Ticket
from models.errors import HubError
from models.forecast import InferCall

_Key = tuple[str, str, str]
"""Pool, replica and model."""


class Outbox:
    """Pools whose calls leave together. Belongs to one event loop.

    A parcel holds less than `most_bytes` of tensors, for which the quick transport is quick.
    """

    def __init__(self, pools: BulkPools, *, most_bytes: int) -> None:
        self._pools = pools
        self._most_bytes = most_bytes
        self._open: dict[_Key, _Parcel] = {}
        self._leaving: list[_Parcel] = []

    @property
    def ready(self) -> bool:
        return self._pools.ready

    def send(self, call: InferCall, ticket: Ticket) -> Response:
        """As `Pools.send`, but the call leaves with the next iteration, and so does a refusal to send it."""
        return self._parcel(call, ticket).add(call)

    def _parcel(self, call: InferCall, ticket: Ticket) -> _Parcel:
        """The one that the call still fits into, or a new one."""
        key = (ticket.pool, ticket.replica, call.model)
        parcel, size = self._open.get(key), call.nbytes
        if parcel is None or parcel.size + size >= self._most_bytes:
            parcel = self._open[key] = _Parcel(ticket)
            if not self._leaving:
                asyncio.get_running_loop().call_soon(self._flush)
            self._leaving.append(parcel)
        parcel.size += size
        return parcel

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        self._open.clear()
        for parcel in leaving:
            parcel.leave(self._pools)


class _Parcel:
    """Calls for one replica that leave together, under the ticket of the first."""

    def __init__(self, ticket: Ticket) -> None:
        self.size = 0
        self._ticket = ticket
        self._calls: list[_Posted] = []

    def add(self, call: InferCall) -> _Posted:
        posted = _Posted(call, asyncio.get_running_loop().create_future())
        self._calls.append(posted)
        return posted

    def leave(self, pools: BulkPools) -> None:
        """Send what nobody gave up meanwhile."""
        posted = [one for one in self._calls if not one.left.done()]
        try:
            for one, response in zip(posted, self._sent(pools, posted), strict=True):
                one.left.set_result(response)
        except HubError as error:
            for one in posted:
                one.left.set_exception(error)

    def _sent(self, pools: BulkPools, posted: Sequence[_Posted]) -> list[Response]:
        match posted:
            case []:
                return []
            case [one]:
                return [pools.send(one.call, self._ticket)]
            case _:
                shared = _Shared(pools, [one.call for one in posted], self._ticket)
                return [_Member(shared, number) for number in range(len(posted))]


@dataclass(slots=True, eq=False)
class _Posted:
    """A call in the outbox, and its response once it has left."""

    call: InferCall
    left: asyncio.Future[Response]

    async def reply(self) -> Reply:
        return await (await self.left).reply()

    def cancel(self) -> None:
        """Stop it, whether it has left or not."""
        if self.left.done() and not self.left.cancelled() and not self.left.exception():
            self.left.result().cancel()
        self.left.cancel()


class _Shared:
    """Calls that left as one. Stopped where they run as soon as nobody waits for any of them."""

    def __init__(self, pools: BulkPools, calls: Sequence[InferCall], ticket: Ticket) -> None:
        self._response = pools.send_many(calls, ticket)
        self._waiting = set(range(len(calls)))
        self._replies = asyncio.ensure_future(self._response.reply())
        self._replies.add_done_callback(_seen)

    async def reply(self, number: int) -> Reply:
        return (await asyncio.shield(self._replies))[number]

    def cancel(self, number: int) -> None:
        self._waiting.discard(number)
        if not self._waiting:
            self._replies.cancel()
            self._response.cancel()


@dataclass(frozen=True, slots=True)
class _Member:
    """One of the calls that left as one."""

    shared: _Shared
    number: int

    async def reply(self) -> Reply:
        return await self.shared.reply(self.number)

    def cancel(self) -> None:
        self.shared.cancel(self.number)


def _seen(replies: asyncio.Future[list[Reply]]) -> None:
    """Mark the failure as seen, since everybody who would see it may have given up."""
    if not replies.cancelled():
        replies.exception()
