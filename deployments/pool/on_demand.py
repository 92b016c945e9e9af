"""A call for a model that is not loaded waits for its load, then runs like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from deployments.pool.shelf import Shelf
from deployments.router.execution.worker import InferenceWorker
from deployments.router.replies import Reply
from models.decision import Ticket
from models.errors import HubError
from models.forecast import InferCall


class OnDemand:
    """A worker with the models of a shelf, which there may not be yet."""

    def __init__(self, worker: InferenceWorker, shelf: Callable[[], Shelf | None]) -> None:
        self._worker = worker
        self._shelf = shelf

    async def infer(self, call: InferCall, ticket: Ticket | None = None) -> Reply:
        """Forecasts of the call, or a refusal that says why there are none; either says how long the call
        waited for its model.
        """
        shelf = self._shelf()
        if shelf is None or not shelf.has(call.model):
            return await self._worker.infer(call, ticket)
        with shelf.in_use(call.model):
            try:
                load_ms = await shelf.loaded(call)
            except HubError as error:
                return self._worker.refusal(call, error)
            reply = await self._worker.infer(call, ticket)
        return replace(reply, load=replace(reply.load, load_ms=load_ms)) if load_ms else reply

    async def infer_many(self, calls: Sequence[InferCall], ticket: Ticket | None = None) -> list[Reply]:
        """One reply per call; calls for the same model share its load and may run as one."""
        return await asyncio.gather(*(self.infer(call, ticket) for call in calls))
