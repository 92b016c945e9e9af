"""The calibration in force, and forecasts moved from the card's to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.answer import InForce
from models.card import POOLED, Calibration
from models.evidence import Levels, Recalibration, Spread
from models.forecast import Forecast
from models.task import INTERVAL_LEVELS

_TAIL: Final = INTERVAL_LEVELS.index(0.90)
"""The level whose ends are q05 and q95."""
_LEAST: Final = 1e-300
"""Beside a large median a tiny scale is lost in rounding; it is still no 0."""


def in_force(
    card: Calibration, live: Recalibration | None, instruments: Sequence[str], *, rows: int
) -> InForce:
    """The rolling calibration of each row's instrument where there is one, else that of all, else the card's.

    `instruments` names one for every row, or one for all; anything else counts as any instrument.
    """
    own = levels_of(card)
    if live is None:
        return InForce(card.version, (own,) * rows)
    pooled = live.multipliers.get(POOLED, own)
    return InForce(
        live.version, tuple(live.multipliers.get(name, pooled) for name in _of_rows(instruments, rows))
    )


def _of_rows(instruments: Sequence[str], rows: int) -> Sequence[str]:
    if len(instruments) == rows:
        return instruments
    return [instruments[0] if len(instruments) == 1 else POOLED] * rows


def levels_of(card: Calibration) -> Levels:
    """A card's multipliers in the order of the levels."""
    return tuple(card.multiplier(level) for level in INTERVAL_LEVELS)


def recalibrated(forecast: Forecast, card: Levels, now: Levels) -> Forecast:
    """The forecast with its intervals at the multipliers `now` instead of the card's."""
    if now == card:
        return forecast
    level, middle = INTERVAL_LEVELS.index(forecast.level), forecast.q50
    scale = (forecast.q95 - forecast.q05) / 2 / card[_TAIL]
    tail, wide = now[_TAIL] * scale, now[level] * scale
    moved = {"q05": middle - tail, "q95": middle + tail, "lower": middle - wide, "upper": middle + wide}
    return forecast.model_copy(update=moved)


def spread_of(forecast: Forecast, now: Levels) -> Spread:
    """The distribution that a forecast was made of with these multipliers."""
    scale = (forecast.q95 - forecast.q05) / 2 / now[_TAIL]
    return Spread(scale=max(scale, _LEAST), multipliers=now)
