"""The last good answer of a window the hub built itself, for the moment when no model can answer in time.

Only for requests by symbol: there two callers asking the same get the same window. Keyed by tenant and by all
that was asked, so an answer never stands in for a stricter question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from models.base import Frozen
from models.decision import Decision
from models.errors import StoreUnavailable
from models.forecast import Forecast
from models.prediction import Lineage
from models.request import Ask
from storage.ports import FastStore, Key

KEPT_S: Final = 60.0
_KIND: Final = "last-good"


class GoodAnswer(Frozen):
    """An answer as it was given, and when (wall time in ns)."""

    at_ns: int
    forecasts: tuple[Forecast, ...]
    decision: Decision
    lineage: Lineage


class LastGoodAnswers:
    """Keeps one answer per question for a minute. Without the fast store there is none."""

    def __init__(self, store: FastStore, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock

    async def keep(self, tenant: str, ask: Ask, answer: GoodAnswer) -> None:
        with contextlib.suppress(StoreUnavailable):
            value = answer.model_dump_json().encode()
            await self._store.put(_place(tenant, ask), value, ttl_s=KEPT_S)

    async def find(self, tenant: str, ask: Ask) -> GoodAnswer | None:
        try:
            value = await self._store.get(_place(tenant, ask))
        except StoreUnavailable:
            return None
        return GoodAnswer.from_record(value) if value else None

    def age_ms(self, answer: GoodAnswer) -> float:
        return (self._clock() - answer.at_ns) / 1e6


def _place(tenant: str, ask: Ask) -> Key:
    asked = (ask.task, ask.symbol, ask.bar_ms, ask.horizon_ms, ask.min_accuracy, ask.model)
    return Key(tenant, _KIND, "/".join(map(str, asked)))
