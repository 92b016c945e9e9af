"""Micro-batches: calls that wait for the same model run as one where that saves time and breaks no deadline.

`batch_of` says who runs together, `run_together` runs them. A call rides along with the first that waits if
both ask the same model for the same interval level, if its rows cost the run at most half of what a run of
its own would, and if the run is then still over before the earliest deadline in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from deployments.router.execution.run_times import RunTimes
from models.card import ModelCard
from models.errors import HubError, InferenceFailed
from models.forecast import Forecast, InferCall

log = logging.getLogger("ray.serve")

_WORTH: Final = 0.5
"""Beyond this share of its own run's time a call gains more from a slot of its own."""


class LoadedModel(Protocol):
    """A model that is ready to answer; `inference.session.Session` is one."""

    card: ModelCard

    def run(
        self, window: NDArray[np.float32], context: NDArray[np.float32], *, level: float
    ) -> list[Forecast]:
        """One calibrated forecast per row. Safe on several threads at once."""
        ...


class HasCall(Protocol):
    """Whatever waits with a call."""

    @property
    def call(self) -> InferCall: ...


Waits = TypeVar("Waits", bound=HasCall)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run of a model on so many rows; wall nanoseconds."""

    rows: int
    started_ns: int
    finished_ns: int

    @property
    def took_ms(self) -> float:
        return (self.finished_ns - self.started_ns) / 1e6


@dataclass(frozen=True, slots=True)
class Part:
    """What one call has of a run."""

    run: Run
    forecasts: list[Forecast]

    @property
    def service_ms(self) -> float:
        """The time of the run that is this call's by its rows, so that the calls of a run add up to it."""
        return self.run.took_ms * len(self.forecasts) / self.run.rows


Outcome = Part | HubError
"""What a run gave one call."""


def batch_of(waiting: Iterable[Waits], *, most_rows: int, times: RunTimes, now_ns: int) -> list[Waits]:
    """The first that waits and those behind it that run together with it, in their order.

    A batch holds at most `most_rows` rows. Calls for the same model do not overtake each other: the first
    that does not fit ends the batch.
    """
    queue = iter(waiting)
    batch = [next(queue)]
    first = batch[0].call
    rows, deadline_ns = len(first.window), first.deadline_ns
    for other in queue:
        call = other.call
        if (call.model, call.interval_level) != (first.model, first.interval_level):
            continue
        rows_then, deadline_ns = rows + len(call.window), min(deadline_ns, call.deadline_ns)
        in_time = now_ns + times.high_ms(rows_then) * 1e6 <= deadline_ns
        if rows_then > most_rows or not in_time or not _saves(times, rows, rows_then):
            break
        batch.append(other)
        rows = rows_then
    return batch


def _saves(times: RunTimes, rows: int, rows_then: int) -> bool:
    alone_ms = times.usual_ms(rows_then - rows)
    return times.usual_ms(rows_then) - times.usual_ms(rows) <= alone_ms * _WORTH


def run_together(model: LoadedModel, calls: Sequence[InferCall], clock: Callable[[], int]) -> list[Outcome]:
    """Run calls of one level as one; one outcome per call.

    Where that fails, each call is run again alone: one whose input is bad must not fail the others.
    """
    try:
        return [*_as_one(model, calls, clock)]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome of the call that caused it
        if len(calls) == 1:
            return [_as_hub_error(model, error)]
        log.info("%d calls of %s failed together and run alone: %s", len(calls), model.card.key, error)
        return [outcome for call in calls for outcome in run_together(model, [call], clock)]


def _as_one(model: LoadedModel, calls: Sequence[InferCall], clock: Callable[[], int]) -> Iterator[Part]:
    window, context = _joined([call.window for call in calls]), _joined([call.context for call in calls])
    started_ns = clock()
    forecasts = model.run(window, context, level=calls[0].interval_level)
    run = Run(len(window), started_ns, clock())
    end = 0
    for call in calls:
        begin, end = end, end + len(call.window)
        yield Part(run, forecasts[begin:end])


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _as_hub_error(model: LoadedModel, error: Exception) -> HubError:
    if isinstance(error, HubError):
        return error
    return InferenceFailed(f"{model.card.key} failed: {type(error).__name__}: {error}")
