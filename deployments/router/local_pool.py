"""The pool inside the caller: small models that answer without a hop, behind the same worker as a replica's.

The way to a replica costs a hundred times what a small model does. So a process that routes may hold such
models itself; it stands in its own load table as one more replica, of pool `local`, and the engine chooses
between here and there as between any two candidates. Deadlines, refusals and load reports are the worker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from deployments.router.config import LocalConfig
from deployments.router.execution.batching import LoadedModel
from deployments.router.execution.loading import load_fitting
from deployments.router.execution.ordinary import ORDINARY_LEVEL, ordinary_row
from deployments.router.execution.slots import Slots
from deployments.router.execution.worker import InferenceWorker
from deployments.router.names import LOCAL_POOL
from deployments.router.ports import Response
from deployments.router.replies import Reply
from models.card import ModelCard
from models.decision import Ticket
from models.errors import TicketRefused
from models.forecast import InferCall
from models.ids import random_id
from models.metrics import Meter
from routing.latency import warm_at
from routing.load import LoadTable, ReplicaMeta

_BREATH_MS: Final = 2.0
"""So much work in a row may keep the event loop from everything else."""


class LocalPool:
    """Small models in this process. Belongs to one event loop; `open` once, in it.

    A call that takes `inline_ms` or less by the model's card runs on the loop itself, since handing it to a
    thread would take longer; any other runs on the worker's own threads.
    """

    def __init__(
        self,
        config: LocalConfig,
        load: LoadTable,
        *,
        clock: Callable[[], int],
        rng: Random,
        meter: Meter,
    ) -> None:
        self._config = config
        self._load = load
        self._clock = clock
        self._meter = meter
        self._boot = random_id(rng)
        self._worker: InferenceWorker | None = None
        self._since_breath_ms = 0.0

    @property
    def ready(self) -> bool:
        """Whether the models are loaded."""
        return self._worker is not None

    async def open(self) -> None:
        """Load the models off the loop, then stand in the load table. ConfigError if one is absent."""
        self.hold(await asyncio.to_thread(_warm_models, self._config))

    def hold(self, models: list[LoadedModel]) -> None:
        """Answer with these models from now on; with none, nobody is sent here."""
        replica = f"{LOCAL_POOL}-{self._boot[:8]}"
        self._worker = InferenceWorker(
            replica=replica,
            boot=self._boot,
            models=models,
            slots=Slots(slots=self._config.slots, max_queue=self._config.max_queue),
            clock=self._clock,
            meter=self._meter,
            batch_rows=self._config.batch_rows,
        )
        meta = ReplicaMeta(
            pool=LOCAL_POOL,
            hardware=LOCAL_POOL,
            slots=self._config.slots,
            models={str(model.card.key): list(model.card.warm) for model in models},
            local=True,
        )
        held = [(replica, meta)] if models else []
        self._load.replicas_updated(LOCAL_POOL, held, now_ns=self._clock())

    def close(self) -> None:
        """Leave the load table. What runs is answered."""
        self._load.replicas_updated(LOCAL_POOL, [], now_ns=self._clock())
        if self._worker:
            self._worker.close()

    def send(self, call: InferCall, ticket: Ticket) -> Response:
        if self._worker is None:
            raise TicketRefused("the local models are not loaded yet")
        if self._worker.warm_ms(call) > self._config.inline_ms:
            return _OnThread(self._worker, call, ticket)
        return _Inline(self, self._worker, call, ticket)

    async def breathe(self, spent_ms: float) -> None:
        """Let others have the loop once enough of it was spent in a row: an inline call never waits."""
        self._since_breath_ms += spent_ms
        if self._since_breath_ms > _BREATH_MS:
            self._since_breath_ms = 0.0
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class _Inline:
    """A call that runs on the loop when its reply is asked for."""

    pool: LocalPool
    worker: InferenceWorker
    call: InferCall
    ticket: Ticket

    async def reply(self) -> Reply:
        reply = self.worker.infer_here(self.call, self.ticket)
        await self.pool.breathe(reply.load.service_ms)
        return reply

    def cancel(self) -> None:
        """Nothing runs while anybody could cancel it."""


@dataclass(frozen=True, slots=True)
class _OnThread:
    """A call that waits for a thread; whoever stops waiting leaves the worker's queue."""

    worker: InferenceWorker
    call: InferCall
    ticket: Ticket

    async def reply(self) -> Reply:
        return await self.worker.infer(self.call, self.ticket)

    def cancel(self) -> None:
        """Giving up on `reply` was enough."""


def _warm_models(config: LocalConfig) -> list[LoadedModel]:
    """The models that are quick enough, each run once: a first run is never quick."""
    sessions = load_fitting(Path(config.repository), config.models, lambda card: _quick(card, config))
    for session in sessions:
        session.run(*ordinary_row(session.card), level=ORDINARY_LEVEL)
    return [*sessions]


def _quick(card: ModelCard, config: LocalConfig) -> bool:
    measured = warm_at(card.warm, 1)
    return measured is not None and measured[0] <= config.max_ms
