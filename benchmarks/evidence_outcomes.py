"""Made-up outcomes as the tracker writes them: of several markets at every close, by several models."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Final

from messaging.ports import LogRecord
from messaging.topics import OUTCOMES
from models.evidence import Outcome, TrialOutcome
from models.task import INTERVAL_LEVELS

MODELS: Final = ("naive@1", "reversal@1", "ridge@1", "logit@1")
"""As many as are live in `model_repository`; the first is the control."""
SYMBOLS: Final = tuple(f"PAIR{number}" for number in range(10))
BAR_MS: Final = 10_000
HORIZON_MS: Final = 60_000
_START_MS: Final = 1_400_000_400_000


def outcomes(rng: Random, models: tuple[str, ...] = MODELS) -> Iterator[Outcome]:
    """Without end: at every close a record for each market, which holds an outcome of each model."""
    for number in count():
        bar, market = divmod(number, len(SYMBOLS))
        yield Outcome(
            epoch=0,
            symbol=SYMBOLS[market],
            bar_ms=BAR_MS,
            horizon_ms=HORIZON_MS,
            bar_close_ms=_START_MS + bar * BAR_MS,
            realised=rng.gauss(0.0, 1e-4),
            trials=tuple(_trial(model, rng) for model in models),
            control=models[0],
            partition=0,
            resume=number,
        )


def encoded(made: Iterator[Outcome], first: int, many: int) -> list[LogRecord]:
    """The next `many` of them as records of the log from offset `first` on."""
    return [
        LogRecord(
            topic=OUTCOMES.name,
            partition=0,
            offset=offset,
            timestamp_ms=outcome.bar_close_ms,
            key=outcome.symbol.encode(),
            value=outcome.model_dump_json(by_alias=True).encode(),
        )
        for offset, outcome in zip(range(first, first + many), made, strict=False)
    ]


def _trial(model: str, rng: Random) -> TrialOutcome:
    """One whose intervals keep their promise."""
    draw = rng.random()
    return TrialOutcome(
        model=model,
        answered=model != MODELS[0],
        calibration=f"{model.replace('@', '-')}-o{rng.randrange(10**6)}",
        score=-math.log(1.0 - draw),
        inside=bisect_left(INTERVAL_LEVELS, draw),
        interval_loss=rng.random(),
        pinball_loss=rng.random(),
        right=rng.choice((0.0, 0.5, 1.0, None)),
        service_us=rng.randrange(200, 400),
    )
