"""The service's own act: for one account one signal at a time, in order; for many accounts at once."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from deployments.reader.config import ReaderConfig
from deployments.reader.fold import Judged, expired
from deployments.reader.ports import Act, Effect, Outcome
from models.signal import Signal

_LOG: Final = logging.getLogger(__name__)


class Decision:
    """Says at the last moment what becomes of a delivery, by the service's clock."""

    def __init__(self, clock: Callable[[], int], config: ReaderConfig) -> None:
        self.clock = clock
        self._config = config

    def before_acting(self, signal: Signal, offset: int) -> Effect | None:
        """The effect of a delivery on which nobody may act now; None if one may."""
        now_ns = self.clock()
        if expired(signal, now_ns, clock_error_ns=self._config.clock_error_ns):
            return Effect(Outcome.EXPIRED, signal, offset, now_ns)
        ahead_ns = signal.generated_ns - now_ns - signal.clock_error_ns - self._config.clock_error_ns
        if ahead_ns > self._config.future_ns:
            detail = f"generated {ahead_ns / 1e9:.1f} s ahead of this clock: one of the two is wrong"
            return Effect(Outcome.FAILED, signal, offset, now_ns, detail)
        return None

    def now(self, signal: Signal, offset: int) -> Effect:
        """What the store is to be told, if it is told now."""
        return self.before_acting(signal, offset) or Effect(Outcome.ACTED, signal, offset, self.clock())


class Lanes:
    """Calls the service's act for the deliveries of one partition."""

    def __init__(self, act: Act, decision: Decision, config: ReaderConfig) -> None:
        self._act = act
        self._decision = decision
        self._config = config
        self._places = asyncio.Semaphore(config.parallel)

    async def run(self, deliveries: Sequence[Judged]) -> list[Effect]:
        """What became of each, in log order."""
        lanes: dict[tuple[str, str], list[tuple[Signal, int]]] = defaultdict(list)
        for one in deliveries:
            if one.signal is not None:
                lanes[one.signal.user_id, one.signal.account_id].append((one.signal, one.record.offset))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._lane(lane)) for lane in lanes.values()]
        effects = [effect for task in running for effect in task.result()]
        return sorted(effects, key=lambda effect: effect.offset)

    async def _lane(self, lane: Sequence[tuple[Signal, int]]) -> list[Effect]:
        async with self._places:
            return [await self._one(signal, offset) for signal, offset in lane]

    async def _one(self, signal: Signal, offset: int) -> Effect:
        """Try until it is done, expired, or out of patience."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + self._config.patience_s
        last: Exception | None = None
        while True:
            if effect := self._decision.before_acting(signal, offset):
                return effect if last is None else _failed(effect, last)
            try:
                left_s = (signal.expires_ns - self._decision.clock()) / 1e9
                async with asyncio.timeout(min(self._config.act_timeout_s, left_s)):
                    await self._act(signal)
            except Exception as error:  # noqa: BLE001 - a service's own code may raise anything
                _LOG.warning("acting on %s: %r", signal.delivery_id, error)
                last = error
                if loop.time() + self._config.retry_s >= give_up_s:
                    return _failed(self._decision.now(signal, offset), error)
                await asyncio.sleep(self._config.retry_s)
            else:
                return Effect(Outcome.ACTED, signal, offset, self._decision.clock())


def _failed(effect: Effect, error: Exception) -> Effect:
    """It was tried, so whether it was done is not known."""
    return replace(effect, outcome=Outcome.FAILED, detail=f"tried, outcome unknown: {error!r}"[:500])
