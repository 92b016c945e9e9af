"""Made-up ticks with calm and violent minutes, and a plan to learn from them."""

from __future__ import annotations

import gzip
import math
import random
from pathlib import Path
from typing import Final

from training.plan import Plan

START_MS: Final = 1_398_988_800_000  # 2014-05-02 00:00 UTC
TICK_MS: Final = 500

PLAN: Final = Plan.model_validate(
    {
        "bar_ms": 1000,
        "horizon_ms": 3000,
        "instruments": ["EURUSD", "NZDUSD"],
        "train": {"start": "2014-05-02T00:05:00Z", "end": "2014-05-02T00:20:00Z"},
        "calibration": {"start": "2014-05-02T00:25:00Z", "end": "2014-05-02T00:33:00Z"},
        "test": {"start": "2014-05-02T00:38:00Z", "end": "2014-05-02T00:50:00Z"},
    }
)


def write_ticks(directory: Path, *, minutes: int = 50) -> None:
    """One file per symbol, volatility changing by the minute."""
    for seed, symbol in enumerate(PLAN.instruments):
        rng, mid, rows = random.Random(seed), 1.0, ["ts_ms,bid,ask"]
        for index in range(minutes * 60_000 // TICK_MS):
            ts_ms = START_MS + index * TICK_MS + rng.randrange(TICK_MS)
            loud = 1 + 3 * ((ts_ms // 60_000) % 3 == 0)
            mid *= math.exp(rng.gauss(0, 2e-5 * loud))
            rows.append(f"{ts_ms},{mid - 5e-5:.6f},{mid + 5e-5:.6f}")
        path = directory / f"{symbol.lower()}_ticks_20140502.csv.gz"
        path.write_bytes(gzip.compress("\n".join(rows).encode()))
