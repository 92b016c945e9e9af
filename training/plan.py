"""What is learned from which market time: parts in order, with an embargo between them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Self

import yaml
from pydantic import AwareDatetime, Field, model_validator

from models.base import Frozen
from models.errors import BadValue
from models.task import WINDOW

PLAN_FILE: Final = Path("config/training.yaml")
_LEAST: Final = timedelta(minutes=50)
"""For all parts together; half an hour of it is learned from. Evidence worth a promise takes weeks."""


class Part(Frozen):
    """Windows that close in [start, end)."""

    start: AwareDatetime
    end: AwareDatetime

    @property
    def start_ms(self) -> int:
        return int(self.start.timestamp() * 1000)

    @property
    def end_ms(self) -> int:
        return int(self.end.timestamp() * 1000)

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


class Plan(Frozen):
    """Bars, horizon and the three parts. Refuses parts that share a bar."""

    bar_ms: Annotated[int, Field(gt=0)]
    horizon_ms: Annotated[int, Field(gt=0)]
    instruments: tuple[str, ...]
    train: Part
    calibration: Part
    test: Part

    @property
    def horizon_bars(self) -> int:
        return self.horizon_ms // self.bar_ms

    @property
    def embargo(self) -> timedelta:
        """One window plus one horizon."""
        return timedelta(milliseconds=WINDOW * self.bar_ms + self.horizon_ms)

    def between(self, start: datetime, end: datetime) -> Plan:
        """The same for other market time: three fifths of it to train, a fifth each to calibrate and to test.

        BadValue says how much there must be, if there is less.
        """
        left = end - start - 2 * self.embargo
        if left < _LEAST:
            raise BadValue(
                f"from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC is too short: the parts and what "
                f"lies between them need {2 * self.embargo + _LEAST}",
                field="since",
            )
        trained = start + left * 3 / 5
        calibrated = trained + self.embargo + left / 5
        return Plan(
            bar_ms=self.bar_ms,
            horizon_ms=self.horizon_ms,
            instruments=self.instruments,
            train=Part(start=start, end=trained),
            calibration=Part(start=trained + self.embargo, end=calibrated),
            test=Part(start=calibrated + self.embargo, end=end),
        )

    @model_validator(mode="after")
    def _parts_share_no_bar(self) -> Self:
        if self.horizon_ms % self.bar_ms:
            raise ValueError(
                f"horizon_ms was {self.horizon_ms}; it must be a multiple of bar_ms {self.bar_ms}"
            )
        for earlier, later in pairwise((self.train, self.calibration, self.test)):
            if later.start - earlier.end < self.embargo:
                raise ValueError(f"between {earlier} and {later} there must be at least {self.embargo}")
        return self


def load_plan(path: Path = PLAN_FILE) -> Plan:
    """The plan of a YAML file."""
    return Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
