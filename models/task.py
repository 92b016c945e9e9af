"""What can be asked: tasks with their typed tensor contracts."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from models.base import Frozen
from models.errors import UnknownTask


class DataSize(StrEnum):
    """How many windows one request carries at most."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"

    @property
    def max_rows(self) -> int:
        return {"small": 8, "medium": 256, "large": 4096}[self.value]

    @classmethod
    def of_rows(cls, rows: int) -> DataSize:
        """The smallest size that holds `rows` windows; the largest if none does."""
        return next((size for size in cls if rows <= size.max_rows), cls.LARGE)


WINDOW: Final = 256
"""Log returns a window holds, oldest first; a model reads the tail it needs."""

CONTEXT_FEATURES: Final = (
    "hour_sin",
    "hour_cos",
    "spread_rel",
    "vol_short",
    "vol_long",
    "vol_ratio",
    "momentum_short",
    "momentum_long",
)
"""Order of the columns of the `context` tensor. The formulas are in `signals/features.py`."""

INTERVAL_LEVELS: Final = (0.50, 0.60, 0.70, 0.80, 0.90, 0.95, 0.98, 0.99)
"""Central interval levels that every model is calibrated for."""


class TaskContract(Frozen):
    """Tensor names and shapes of a task: `window float32[n, window]`, `context float32[n, len(context)]`."""

    name: str
    window: int
    context: tuple[str, ...]
    outputs: tuple[str, ...]


TIME_SERIES_FORECAST: Final = TaskContract(
    name="time_series_forecast",
    window=WINDOW,
    context=CONTEXT_FEATURES,
    outputs=("location", "scale", "logit_up"),
)

TASKS: Final = {TIME_SERIES_FORECAST.name: TIME_SERIES_FORECAST}


def task_named(name: str) -> TaskContract:
    """The contract of a task; UnknownTask names the known ones."""
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTask(f"task was {name!r}; known tasks: {', '.join(TASKS)}", field="task") from None
