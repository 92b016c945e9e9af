"""Loads that calls wait for: one for all who wait for the same model, and no longer than their deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from deployments.pool.load_times import LoadTimes
from models.errors import DeadlineExpired, ReplicaBusy, TicketRefused
from models.forecast import InferCall


class Loading:
    """Begins loads with `load`, which must not raise. Belongs to one event loop. At most `most_waiting` calls
    wait.
    """

    def __init__(
        self,
        load: Callable[[str], Coroutine[Any, Any, None]],
        times: LoadTimes,
        *,
        most_waiting: int,
        clock: Callable[[], int],
    ) -> None:
        self._load = load
        self._times = times
        self._most_waiting = most_waiting
        self._clock = clock
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._waiting = 0

    def of(self, model: str) -> asyncio.Task[None]:
        """The load of a model, begun now if it was not under way."""
        if model not in self._loads:
            self._loads[model] = asyncio.create_task(self._shared(model))
        return self._loads[model]

    async def wait_for(self, call: InferCall) -> float:
        """Wait until the load of the call's model has ended, well or not; how long that took, milliseconds.

        A load goes on for the next call when nobody waits for it any longer. Raises TicketRefused if it would
        take longer than the call has, ReplicaBusy, and DeadlineExpired.
        """
        asked_ns = self._clock()
        self._check(call, (call.deadline_ns - asked_ns) / 1e6)
        self._waiting += 1
        try:
            async with asyncio.timeout((call.deadline_ns - asked_ns) / 1e9):
                await asyncio.shield(self.of(call.model))
        except TimeoutError:
            raise DeadlineExpired(
                f"{call.model} was still being loaded at the deadline; nothing was run"
            ) from None
        finally:
            self._waiting -= 1
        return (self._clock() - asked_ns) / 1e6

    async def _shared(self, model: str) -> None:
        try:
            await self._load(model)
        finally:
            del self._loads[model]  # at once: whoever comes now must not wait for a load that has ended

    def _check(self, call: InferCall, left_ms: float) -> None:
        if left_ms <= 0:
            raise DeadlineExpired(f"the call arrived {-left_ms:.1f} ms after its deadline; nothing was run")
        if self._waiting >= self._most_waiting:
            raise ReplicaBusy(f"{self._waiting} calls wait for their models to be loaded; no more may")
        usual_ms = self._times.usual_ms(call.model)
        if call.model not in self._loads and usual_ms > left_ms:
            raise TicketRefused(
                f"{call.model} is not loaded; that takes {usual_ms:.1f} ms, and the call has {left_ms:.1f}"
            )
