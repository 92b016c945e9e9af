"""Other ways to count outcomes. None of them knows bounds, fading or calibration."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from typing import Any, Final, Protocol

from messaging.ports import LogRecord
from models.task import INTERVAL_LEVELS

_LEVELS: Final = len(INTERVAL_LEVELS)

Series = tuple[str, str]
"""Model and instrument."""


class Counting(Protocol):
    """Takes records as `OutcomeFold` does."""

    def take_all(self, records: Iterable[LogRecord]) -> None:
        """Take records in log order."""
        ...


class Plain:
    """`json.loads` and dictionaries: coverage by level, loss and direction, by model and instrument."""

    def __init__(self) -> None:
        self._counts: dict[Series, dict[str, Any]] = {}

    def take_all(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            outcome = json.loads(record.value or b"")
            for trial in outcome["trials"]:
                self._add((trial["model"], outcome["symbol"]), trial)

    def coverage(self, series: Series, level: float) -> float:
        """Share of outcomes inside the interval of a level."""
        counts = self._counts[series]
        return float(counts["inside"][INTERVAL_LEVELS.index(level)] / counts["n"])

    def _add(self, series: Series, trial: dict[str, Any]) -> None:
        counts = self._counts.get(series)
        if counts is None:
            counts = self._counts[series] = {"n": 0, "loss": 0.0, "right": 0.0, "inside": [0] * _LEVELS}
        counts["n"] += 1
        counts["loss"] += trial["interval_loss"]
        counts["right"] += trial["right"] or 0.0
        inside = counts["inside"]
        for index in range(trial["inside"], _LEVELS):
            inside[index] += 1


class River:
    """The same means by river's running statistics."""

    def __init__(self) -> None:
        self._mean: Any = importlib.import_module("river.stats").Mean
        self._means: dict[Series, list[Any]] = {}

    def take_all(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            outcome = json.loads(record.value or b"")
            for trial in outcome["trials"]:
                self._add((trial["model"], outcome["symbol"]), trial)

    def coverage(self, series: Series, level: float) -> float:
        """Share of outcomes inside the interval of a level."""
        return float(self._means[series][INTERVAL_LEVELS.index(level)].get())

    def _add(self, series: Series, trial: dict[str, Any]) -> None:
        means = self._means.get(series)
        if means is None:
            means = self._means[series] = [self._mean() for _ in range(_LEVELS + 2)]
        inside = trial["inside"]
        for index in range(_LEVELS):
            means[index].update(index >= inside)
        means[_LEVELS].update(trial["interval_loss"])
        means[_LEVELS + 1].update(trial["right"] or 0.0)
