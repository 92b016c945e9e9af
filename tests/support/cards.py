"""Model cards for tests: plausible in every field, with what a test cares about set by keyword."""

from __future__ import annotations

import hashlib
from typing import Literal

from models.card import (
    Bounded,
    Calibration,
    Ensemble,
    Evidence,
    ModelCard,
    ModelContract,
    ModelStatus,
    WarmProfile,
)
from models.ensembles import recipe_of
from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS, TIME_SERIES_FORECAST


def a_card(
    name: str = "ridge",
    version: str = "1",
    *,
    warm_ms: float = 1.0,
    cost: float = 1.0,
    skill: float = 0.05,
    sha256: str = "0" * 64,
) -> ModelCard:
    """A live card that serves any instrument; its warm p50 is `warm_ms` for one row and for 256."""
    return ModelCard(
        name=name,
        version=version,
        task=TIME_SERIES_FORECAST.name,
        family="test",
        description="a card made for a test",
        status=ModelStatus.LIVE,
        sha256=sha256,
        contract=ModelContract(
            bar_ms=10_000, horizon_ms=60_000, window_tail=64, context=CONTEXT_FEATURES, instruments=("*",)
        ),
        cost=cost,
        warm=tuple(WarmProfile(rows=rows, p50_ms=warm_ms, p99_ms=2 * warm_ms, n=100) for rows in (1, 256)),
        calibration=Calibration(
            version="test-1",
            n=1000,
            multipliers={f"{level:.2f}": 0.5 + level for level in INTERVAL_LEVELS},
            domain=dict.fromkeys(CONTEXT_FEATURES, (-1.0, 1.0)),
        ),
        evidence=(_evidence(skill),),
    )


def _evidence(skill: float) -> Evidence:
    return Evidence(
        instrument="*",
        period_from="2024-01-01",
        period_to="2024-02-01",
        n=1000,
        coverage={f"{level:.2f}": _bounded(level, 0.005) for level in INTERVAL_LEVELS},
        interval_score=_bounded(1.0, 0.1),
        skill=_bounded(skill, 0.01),
        pinball_skill=_bounded(skill, 0.01),
        direction_accuracy=_bounded(0.51, 0.02),
    )


def _bounded(value: float, error: float) -> Bounded:
    return Bounded(value=value, lower=value - error, upper=value + error, n=1000)


def an_ensemble(
    name: str = "blend", version: str = "1", *, of: tuple[str, ...] | Literal["live"] = "live"
) -> ModelCard:
    """A live ensemble as it is in the catalogue: unmeasured, its scale the half-width at 0.90."""
    ensemble = Ensemble(members=of)
    card = a_card(name, version, sha256=hashlib.sha256(recipe_of(ensemble)).hexdigest())
    own = card.calibration
    calibration = own.model_copy(
        update={
            "version": f"{name}-{version}-members",
            "multipliers": {
                at: multiplier / own.multiplier(0.90) for at, multiplier in own.multipliers.items()
            },
        }
    )
    return card.model_copy(update={"ensemble": ensemble, "calibration": calibration, "evidence": ()})
