"""Evidence from live outcomes for tests: plausible, with what a test cares about set by keyword."""

from __future__ import annotations

from models.card import Bounded
from models.evidence import LiveEvidence, ModelEvidence, Recalibration, Stretch
from models.task import INTERVAL_LEVELS

MAY_1_MS = 1_398_902_400_000
STRETCH_MS = 15 * 60_000


def bounded(value: float, lower: float, upper: float, *, n: int = 5_000) -> Bounded:
    """A measured value with these bounds."""
    return Bounded(value=value, lower=lower, upper=upper, n=n)


def seen_on(
    instrument: str = "*", *, coverage: dict[str, Bounded] | None = None, skill: Bounded | None = None
) -> LiveEvidence:
    """An instrument's evidence; every level is covered as promised, give or take 0.002, or as told."""
    exact = {f"{level:.2f}": bounded(level, level - 0.002, level + 0.002) for level in INTERVAL_LEVELS}
    return LiveEvidence(
        instrument=instrument,
        n=5_000,
        clusters=80.0,
        weight=0.6,
        coverage=exact | (coverage or {}),
        interval_score=bounded(0.2, 0.1, 0.3),
        skill=skill,
        pinball_skill=skill,
        direction_accuracy=bounded(0.51, 0.49, 0.53),
    )


def stretch(number: int, *, coverage_90: float, coverage_95: float, skill: float | None = None) -> Stretch:
    """The stretch of that number since 2014-05-01."""
    from_ms = MAY_1_MS + number * STRETCH_MS
    return Stretch(
        from_ms=from_ms,
        to_ms=from_ms + STRETCH_MS,
        n=90,
        coverage={"0.90": coverage_90, "0.95": coverage_95},
        skill=skill,
    )


def observed(
    name: str = "ridge",
    version: str = "1",
    *,
    instruments: tuple[LiveEvidence, ...] | None = None,
    history: tuple[Stretch, ...] = (),
    calibration: Recalibration | None = None,
    cursor: int = 812,
) -> ModelEvidence:
    """A model's evidence, pooled if no instruments are given."""
    return ModelEvidence(
        name=name,
        version=version,
        cursor=cursor,
        bar_ms=10_000,
        horizon_ms=60_000,
        from_ms=MAY_1_MS,
        to_ms=MAY_1_MS + 86_400_000,
        outcomes=5_000,
        answered=4_000,
        asked=200,
        failures=3,
        service_ms=(0.22, 0.81),
        instruments=(seen_on(),) if instruments is None else instruments,
        drift=0.0,
        calibration=calibration,
        history=history,
    )
