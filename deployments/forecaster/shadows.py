"""Asks the models that did not answer, so that all are measured on the same moments and not only the chosen.

It gives way to everything: it waits until the answers are on their way to the log, asks one model after the
other as bulk, and of what came due meanwhile only the newest moment of a symbol is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.forecaster.lane import Lane
from deployments.forecaster.slots import Answered, DueSlot, Outcome
from models.answer import Answer
from models.errors import HubError, InferenceFailed, ReplicaLost
from models.evidence import Shadow, Trial
from models.ids import traceparent
from models.metrics import Meter
from models.request import Priority, Requirements
from models.task import TIME_SERIES_FORECAST, DataSize
from routing.evidence.recalibration import spread_of
from signals.features import tensors_of
from signals.outcomes import mid_of
from signals.windows import Window

_CALM_S: Final = 0.03
"""So long nothing new came due: the answers have been sent, and every group has said who gave them."""
_CALMS: Final = 10
"""So often that is waited for."""
_PATIENCE_NS: Final = 2_000_000_000

Market = tuple[int, int]
"""Bar size and horizon: what a model is made for."""


class Beside(Protocol):
    """Who can be asked beside the one that answers; the routed client is it."""

    def beside(self, bar_ms: int, horizon_ms: int) -> Sequence[str]:
        """The models that are measured in this market, by `name@version`."""
        ...

    async def infer_beside(
        self,
        requirements: Requirements,
        window: NDArray[np.float32],
        context: NDArray[np.float32],
        *,
        traceparent: str,
    ) -> Answer:
        """As `infer`, but it takes part in no experiment and counts for no promise."""
        ...


@dataclass(slots=True)
class Asked:
    """A moment of a symbol, and the models that have answered for it."""

    lane: Lane
    window: Window
    mid: float
    answered: set[str] = field(default_factory=set)


class ShadowAsks:
    """Run `run` as a task; `add` what was settled. Belongs to one event loop."""

    def __init__(
        self, beside: Beside, *, clock: Callable[[], int], rng: Random, meter: Meter, calm_s: float = _CALM_S
    ) -> None:
        self._beside = beside
        self._clock = clock
        self._rng = rng
        self._meter = meter
        self._calm_s = calm_s
        self._due: dict[Market, dict[str, Asked]] = {}
        self._arrived = asyncio.Event()

    def add(self, settled: Iterable[tuple[DueSlot, Outcome]]) -> None:
        """Ask soon whoever has not answered for these moments."""
        for due, outcome in settled:
            if due.closing.window is not None:
                asked = self._asked(due, due.closing.window)
                if asked and isinstance(outcome, Answered):
                    asked.answered.add(_answered_by(outcome.answer))
        self._arrived.set()

    async def run(self) -> NoReturn:
        """Ask what is due, until cancelled."""
        while True:
            await self._arrived.wait()
            await self._calm()
            due, self._due = self._due, {}
            for market, moments in due.items():
                await self._ask_all(market, moments)

    async def _calm(self) -> None:
        """Wait until nothing new came due for a while, but not for ever."""
        for _ in range(_CALMS):
            self._arrived.clear()
            await asyncio.sleep(self._calm_s)
            if not self._arrived.is_set():
                return

    def _asked(self, due: DueSlot, window: Window) -> Asked | None:
        """The moment of a slot; None if a newer one of its symbol is due already."""
        moments = self._due.setdefault((due.slot.bar_ms, due.slot.horizon_ms), {})
        known = moments.get(due.slot.symbol)
        if known is None or known.window.close_ms < window.close_ms:
            if known is not None:
                self._count("dropped")
            known = moments[due.slot.symbol] = Asked(due.lane, window, mid_of(due.closing.reference))
        return known if known.window.close_ms == window.close_ms else None

    async def _ask_all(self, market: Market, moments: Mapping[str, Asked]) -> None:
        trials: dict[str, list[Trial]] = {symbol: [] for symbol in moments}
        for model in self._beside.beside(*market):
            left = {symbol: one for symbol, one in moments.items() if model not in one.answered}
            for symbol, trial in (await self._ask(model, market, left)).items():
                trials[symbol].append(trial)
        for symbol, made in trials.items():
            if made:
                moments[symbol].lane.put_beside(_shadow(market, moments[symbol], made))

    async def _ask(self, model: str, market: Market, moments: Mapping[str, Asked]) -> dict[str, Trial]:
        """A trial of each moment; none if the model was not to be had, which says nothing of the model."""
        if not moments:
            return {}
        try:
            answer = await self._infer(model, market, list(moments.values()))
        except (InferenceFailed, ReplicaLost) as error:
            self._count("failed")
            return {symbol: Trial(model=model, failed=error.code) for symbol in moments}
        except HubError:
            self._count("not_to_be_had")
            return {}
        self._count("made")
        return {symbol: trial for row, symbol in enumerate(moments) if (trial := _trial(model, answer, row))}

    async def _infer(self, model: str, market: Market, moments: Sequence[Asked]) -> Answer:
        window, context = tensors_of([one.window for one in moments])
        bar_ms, horizon_ms = market
        requirements = Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=len(moments),
            data_size=DataSize.of_rows(len(moments)),
            deadline_ns=self._clock() + _PATIENCE_NS,
            instruments=tuple(one.window.symbol for one in moments),
            bar_ms=bar_ms,
            horizon_ms=horizon_ms,
            model=model,
            priority=Priority.BULK,
        )
        trace = traceparent(self._rng)
        return await self._beside.infer_beside(requirements, window, context, traceparent=trace)

    def _count(self, outcome: str) -> None:
        self._meter.count("hub_shadow_forecasts_total", {"outcome": outcome})


def _answered_by(answer: Answer) -> str:
    return f"{answer.lineage.model}@{answer.lineage.version}"


def _trial(model: str, answer: Answer, row: int) -> Trial | None:
    """None where a smaller model stood in, or where nobody knows what its intervals are made with."""
    if _answered_by(answer) != model or answer.in_force is None:
        return None
    forecast = answer.forecasts[row]
    return Trial(
        model=model,
        calibration=answer.lineage.calibration,
        location=forecast.q50,
        prob_up=forecast.prob_up,
        spread=spread_of(forecast, answer.in_force.rows[row]),
        service_us=answer.lineage.inference_us,
    )


def _shadow(market: Market, asked: Asked, trials: Sequence[Trial]) -> Shadow:
    bar_ms, horizon_ms = market
    return Shadow(
        epoch=asked.lane.epoch,
        symbol=asked.window.symbol,
        bar_ms=bar_ms,
        horizon_ms=horizon_ms,
        bar_close_ms=asked.window.close_ms,
        mid=asked.mid,
        trials=tuple(trials),
    )
