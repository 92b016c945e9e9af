"""A model under a test's control, a clock it may move, and calls for the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deployments.router.execution.slots import Slots
from deployments.router.execution.worker import InferenceWorker
from models.card import ModelCard, ModelKey
from models.decision import Ticket
from models.forecast import Forecast, InferCall
from models.metrics import MemoryMeter
from models.task import CONTEXT_FEATURES, WINDOW

SECOND = 1_000_000_000


@dataclass
class GatedModel:
    """Answers when its gate is open, or fails as told; a row that is `poison` fails every run it is in."""

    card: ModelCard
    error: Exception | None = None
    poison: float = float("inf")
    gate: threading.Event = field(default_factory=threading.Event)
    ran: list[list[float]] = field(default_factory=list)
    """The first return of every row, run by run."""

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def runs(self) -> int:
        return len(self.ran)

    def run(
        self, window: NDArray[np.float32], context: NDArray[np.float32], *, level: float
    ) -> list[Forecast]:
        """One forecast per row, its middle the row's first return."""
        self.ran.append([float(row[0]) for row in window])
        assert self.gate.wait(5)
        if self.error:
            raise self.error
        if self.poison in self.ran[-1]:
            raise ValueError(f"{self.poison} is poison")
        return [a_forecast(first, level) for first in self.ran[-1]]


def a_worker(
    models: Sequence[GatedModel],
    clock: Callable[[], int],
    *,
    slots: int = 1,
    max_queue: int = 64,
    batch_rows: int = 0,
) -> InferenceWorker:
    """The worker `r1`, which its user closes."""
    return InferenceWorker(
        replica="r1",
        boot="b1",
        models=models,
        slots=Slots(slots=slots, max_queue=max_queue),
        clock=clock,
        meter=MemoryMeter(),
        batch_rows=batch_rows,
    )


def a_forecast(middle: float, level: float) -> Forecast:
    """A forecast around a value."""
    return Forecast(
        q05=middle - 1,
        q50=middle,
        q95=middle + 1,
        lower=middle - 1,
        upper=middle + 1,
        level=level,
        prob_up=0.5,
        in_distribution=True,
    )


class Clock:
    """Wall time that a test may move."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        return time.time_ns() + self.ahead_ns


def a_call(
    model: str = "ridge@1", *, rows: int = 1, within_s: float = 30.0, first: float = 0.0, level: float = 0.9
) -> InferCall:
    """A call for `rows` windows that begin with `first`, with a deadline from now."""
    return InferCall(
        call_id="c1",
        model=model,
        window=np.full((rows, WINDOW), first, np.float32),
        context=np.zeros((rows, len(CONTEXT_FEATURES)), np.float32),
        interval_level=level,
        deadline_ns=time.time_ns() + int(within_s * SECOND),
        traceparent="",
    )


def a_ticket(replica: str) -> Ticket:
    """A ticket to a replica."""
    return Ticket(
        decision_id="d",
        attempt=1,
        model=ModelKey(name="ridge", version="1"),
        pool="p",
        replica=replica,
        deadline_ns=0,
        interval_level=0.9,
    )
