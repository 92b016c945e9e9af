"""One routed call for all slots that are due together and need the same of it.

A group has one call under way at a time; a slow group makes no other wait. What becomes due meanwhile goes
out together next, and of what waited too long only the latest per symbol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NoReturn

from deployments.forecaster.lane import Lane
from deployments.forecaster.slots import Answered, DueSlot, Outcome, Refusal, Triage
from models.answer import Answer, Router
from models.errors import DeadlineExpired, HubError, NoModelMatches
from models.ids import traceparent
from models.prediction import Prediction, Skipped, SkipReason
from models.request import Requirements
from models.strategy import ForecastNeeds, Strategy
from models.task import TIME_SERIES_FORECAST, DataSize
from signals.features import tensors_of
from signals.windows import Window

Row = tuple[str, int]
_GRACE_S: Final = 0.1
"""How much longer than the deadline a router may take to say that it was missed."""


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What one routed call can serve."""

    bar_ms: int
    horizon_ms: int
    needs: ForecastNeeds

    @classmethod
    def of(cls, strategy: Strategy) -> GroupKey:
        return cls(strategy.bar_ms, strategy.horizon_ms, strategy.needs)


class ForecastGroup:
    """Owns the due slots of its strategies until their lanes have their records and `settled` was told."""

    def __init__(
        self,
        key: GroupKey,
        router: Router,
        *,
        clock: Callable[[], int],
        rng: Random,
        stale_after_ms: int,
        settled: Callable[[Sequence[tuple[DueSlot, Outcome]]], object] = lambda _: None,
    ) -> None:
        self._key = key
        self._router = router
        self._clock = clock
        self._rng = rng
        self._stale_after_ms = stale_after_ms
        self._settled = settled
        self._due: list[DueSlot] = []
        self._arrived = asyncio.Event()

    def add(self, due: Sequence[DueSlot]) -> None:
        """Let these slots go with the next call."""
        self._due += due
        self._arrived.set()

    async def run(self) -> NoReturn:
        """Settle what is due, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            due, self._due = self._due, []
            await self._settle(due)

    async def _settle(self, due: Sequence[DueSlot]) -> None:
        """Every slot gets its record; those of one lane in the order of their closes."""
        trace = traceparent(self._rng)
        triage = Triage.of(due, now_ns=self._clock(), stale_after_ms=self._stale_after_ms)
        outcomes = await self._outcomes(triage.asked, trace)
        now_ns = self._clock()
        records: dict[Lane, list[Prediction | Skipped]] = {}
        for one, outcome in sorted([*outcomes, *triage.refused], key=lambda item: item[0].slot.bar_close_ms):
            record = outcome.record(one, now_ns=now_ns, traceparent=trace)
            records.setdefault(one.lane, []).append(record)
        for lane, owed in records.items():
            lane.put(owed)
        self._settled(outcomes)

    async def _outcomes(self, asked: Sequence[DueSlot], trace: str) -> list[tuple[DueSlot, Outcome]]:
        """Ask once for each distinct window, however many strategies wait for it."""
        windows = {one.row: one.closing.window for one in asked if one.closing.window is not None}
        if not windows:
            return []
        outcomes = await self._answers(windows, self._deadline_ns(asked), trace)
        return [(one, outcomes[one.row]) for one in asked]

    async def _answers(
        self, windows: Mapping[Row, Window], deadline_ns: int, trace: str
    ) -> Mapping[Row, Outcome]:
        """What the router says to a call with these rows. If no model serves all of the symbols, each symbol
        is asked for by itself, so that one cannot spoil the others.
        """
        try:
            answer = await self._call(windows, deadline_ns, trace)
        except NoModelMatches as error:
            parts = _by_symbol(windows)
            if len(parts) == 1:
                return dict.fromkeys(windows, Refusal(SkipReason.REFUSED, error.message))
            answers = await asyncio.gather(*(self._answers(part, deadline_ns, trace) for part in parts))
            return {row: outcome for part in answers for row, outcome in part.items()}
        except (DeadlineExpired, TimeoutError) as error:
            return dict.fromkeys(
                windows, Refusal(SkipReason.TIMEOUT, str(error) or "the router did not answer")
            )
        except HubError as error:
            return dict.fromkeys(windows, Refusal(SkipReason.REFUSED, f"{error.code}: {error.message}"))
        return {row: Answered(answer, index) for index, row in enumerate(windows)}

    async def _call(self, windows: Mapping[Row, Window], deadline_ns: int, trace: str) -> Answer:
        returns, context = tensors_of(list(windows.values()))
        left_s = max(0, deadline_ns - self._clock()) / 1e9
        async with asyncio.timeout(left_s + _GRACE_S):
            return await self._router.infer(
                self._requirements(windows, deadline_ns), returns, context, traceparent=trace
            )

    def _requirements(self, windows: Mapping[Row, Window], deadline_ns: int) -> Requirements:
        needs = self._key.needs
        return Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=len(windows),
            data_size=DataSize.of_rows(len(windows)),
            deadline_ns=deadline_ns,
            min_accuracy=needs.min_accuracy,
            profile=needs.routing_strategy,
            instruments=tuple(symbol for symbol, _ in windows),
            bar_ms=self._key.bar_ms,
            horizon_ms=self._key.horizon_ms,
        )

    def _deadline_ns(self, asked: Sequence[DueSlot]) -> int:
        """That of the newest slot: from its close, from now if a take-over missed it; never after expiry."""
        newest = max(asked, key=lambda one: one.closed_ns)
        start_ns = self._clock() if newest.missed else newest.closed_ns
        return min(newest.expires_ns, start_ns + self._key.needs.max_latency_ms * 1_000_000)


def _by_symbol(windows: Mapping[Row, Window]) -> list[dict[Row, Window]]:
    parts: dict[str, dict[Row, Window]] = {}
    for row, window in windows.items():
        parts.setdefault(row[0], {})[row] = window
    return list(parts.values())
