"""What the replicas do: two calls at once, the others wait; slower or failing if told so.

Most pools work by sleeping, one kind by running a model of the repository.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import numpy as np
from ray import serve

from deployments.router.execution.loading import load_models
from models.task import CONTEXT_FEATURES, WINDOW

SLOTS: Final = 2
CAPACITY: Final = 32
FAILING: Final = 0.0


class ToldToFailError(Exception):
    """The failure that a scenario asks for."""


class SleepingReplica:
    """Service times are the caller's, so that every pool has to do the same work."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(SLOTS)
        self._slower = 1.0

    async def work(self, seconds: float) -> None:
        """Sleep so long in one of the slots, as many times longer as was told; or fail at once."""
        if self._slower == FAILING:
            raise ToldToFailError
        async with self._slots:
            await self.serve(seconds * self._slower)

    async def serve(self, seconds: float) -> None:
        """Take that long."""
        await asyncio.sleep(seconds)

    async def behave(self, slower: dict[str, float]) -> tuple[str, int]:
        """Be as much slower as is said for this replica, or as fast as ever; tells its name and process."""
        name = serve.get_replica_context().replica_id.unique_id
        self._slower = slower.get(name, 1.0)
        return name, os.getpid()


class ModelReplica(SleepingReplica):
    """Runs a model on one window per call: the service time is what the processor takes for it."""

    def __init__(self, repository: str, model: str) -> None:
        super().__init__()
        (self._session,) = load_models(Path(repository), (model,))
        self._window = np.random.default_rng(1).normal(0, 1e-4, (1, WINDOW)).astype(np.float32)
        self._context = np.zeros((1, len(CONTEXT_FEATURES)), np.float32)

    async def serve(self, seconds: float) -> None:  # noqa: ARG002 - it takes as long as it takes
        """Run the model, beside the event loop."""
        await asyncio.to_thread(self._session.run, self._window, self._context, level=0.9)
