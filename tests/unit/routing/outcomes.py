"""Made-up outcomes for the tests of evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from models.evidence import Outcome, TrialOutcome
from models.task import INTERVAL_LEVELS

BAR_MS = 10_000
HORIZON_MS = 60_000
START_MS = 1_400_000_000_000 // 900_000 * 900_000
LEVELS = len(INTERVAL_LEVELS)


def outcome_of(
    close_ms: int,
    *trials: TrialOutcome,
    symbol: str = "EURUSD",
    control: str | None = None,
    failed: dict[str, str] | None = None,
) -> Outcome:
    """An outcome of a moment."""
    return Outcome(
        epoch=0,
        symbol=symbol,
        bar_ms=BAR_MS,
        horizon_ms=HORIZON_MS,
        bar_close_ms=close_ms,
        realised=1e-4,
        trials=trials,
        control=control,
        failed=failed or {},
        partition=0,
        resume=0,
    )


def trial_of(
    model: str = "ridge@1",
    *,
    score: float = 1.0,
    inside: int = 0,
    loss: float = 1.0,
    right: float | None = 1.0,
    answered: bool = False,
) -> TrialOutcome:
    """How one forecast did."""
    return TrialOutcome(
        model=model,
        answered=answered,
        calibration="c",
        score=score,
        inside=inside,
        interval_loss=loss,
        pinball_loss=loss / 2,
        right=right,
        service_us=250,
    )


def honest_inside(rng: Random, *, short: float = 0.0) -> int:
    """The narrowest level that holds an outcome, where each level covers its share less `short`."""
    draw = rng.random()
    return next((index for index, level in enumerate(INTERVAL_LEVELS) if draw < level - short), LEVELS)


def bars(count: int, *, symbols: Sequence[str] = ("EURUSD",)) -> Iterator[tuple[int, str]]:
    """Closes, symbol by symbol."""
    for bar in range(count):
        for symbol in symbols:
            yield START_MS + bar * BAR_MS, symbol
