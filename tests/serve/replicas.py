"""Pools whose models do what the window tells them to, behind the shipped replica, worker and router."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.serve import Application

from deployments.pool.config import PoolConfig
from deployments.pool.deployment import InferenceReplica, serve_options
from deployments.router.execution.batching import LoadedModel
from deployments.router.replies import Reply
from models.card import ModelCard
from models.decision import Ticket
from models.errors import InferenceFailed
from models.forecast import Forecast, InferCall
from models.task import WINDOW
from tests.serve.recording import recorded_routing
from tests.support.cards import a_card

MODELS: Final = ("quick", "steady")
CARDS: Final = tuple(a_card(name, warm_ms=warm) for name, warm in zip(MODELS, (1.0, 2.0), strict=True))
SLEEP, FAIL = 0, 1
"""Columns: seconds to sleep, and 1 to fail."""


class ScriptedModel:
    """Sleeps, fails or answers, as the rows of the window say."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    def run(
        self, window: NDArray[np.float32], context: NDArray[np.float32], *, level: float
    ) -> list[Forecast]:
        """One forecast per row; `q50` is the process id of the replica."""
        time.sleep(max(0.0, float(window[:, SLEEP].max())))
        if (window[:, FAIL] >= 1).any():
            raise InferenceFailed(f"{self.card.key} was told to fail")
        here = float(os.getpid())
        answer = Forecast(
            q05=-here,
            q50=here,
            q95=2 * here,
            lower=0,
            upper=1,
            level=level,
            prob_up=0.5,
            in_distribution=True,
        )
        return [answer] * len(window)


class ScriptedReplica(InferenceReplica):
    """The shipped replica with scripted models."""

    def __init__(self, config: PoolConfig) -> None:
        super().__init__(config)
        self._stopped_ns: list[int] = []

    def load(self, config: PoolConfig) -> list[LoadedModel]:
        return [ScriptedModel(card) for card in CARDS]

    async def infer(self, call: InferCall, ticket: Ticket | None = None) -> Reply:
        """As shipped, noting when calls were cancelled here."""
        try:
            return await super().infer(call, ticket)
        except asyncio.CancelledError:
            self._stopped_ns.append(time.time_ns())
            raise

    async def stopped(self, ticket: Ticket | None = None) -> list[int]:
        """When calls were cancelled here, wall nanoseconds."""
        return self._stopped_ns

    async def held(self, ticket: Ticket | None = None) -> tuple[int, int]:
        """How many calls run and wait here."""
        slots = self._worker._slots
        return slots.in_service, slots.queued

    async def pid(self, ticket: Ticket | None = None) -> int:
        """Process id of the replica that got the call."""
        return os.getpid()

    async def fail(self, ticket: Ticket | None = None) -> None:
        """Raise something that is not of the hub's."""
        raise ValueError("not of the hub's")


def scripted_pool(config: PoolConfig) -> Application:
    """A pool with the shipped options, whose router also records what Serve calls."""
    options: dict[str, Any] = {
        **serve_options(config),
        "request_router_config": recorded_routing(config.name),
    }
    return serve.deployment(**options)(ScriptedReplica).bind(config)


def a_window(*, sleep_s: float = 0.0, fail: bool = False, rows: int = 1) -> NDArray[np.float32]:
    """Windows that make a scripted model sleep or fail."""
    window = np.zeros((rows, WINDOW), np.float32)
    window[0, SLEEP], window[0, FAIL] = sleep_s, float(fail)
    return window
