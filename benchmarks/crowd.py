"""Users, strategies and predictions made for the fan-out benchmark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

from models import ids
from models.decision import Degradation
from models.forecast import Forecast
from models.prediction import Lineage, Prediction, ReferencePrice, Slot
from models.principal import Tier
from models.strategy import Strategy
from models.subscription import RiskSettings, Subscription

SYMBOL = "EURUSD"
_BAR_MS, _HORIZON_MS = 10_000, 60_000
_FIRST_CLOSE_MS = 1_400_000_000_000
_TTL_NS = 10_000_000_000
_YEAR_NS = 365 * 86_400 * 10**9
_TIERS, _SCALES = (Tier.FREE, Tier.PRO, Tier.ENTERPRISE), (0.5, 1.0, 2.0)


def strategy_of(users: int) -> Strategy:
    """A strategy that so many users follow."""
    return Strategy(
        name=f"crowd-{users}", version="1", symbols=(SYMBOL,), bar_ms=_BAR_MS, horizon_ms=_HORIZON_MS
    )


def subscriptions(users: int) -> Iterator[Subscription]:
    """The users of `strategy_of(users)`; tiers and risk settings vary from user to user."""
    for number in range(users):
        yield Subscription(
            user_id=f"user-{number + 1:05d}",
            tenant_id=f"tenant-{number % 3 + 1}",
            account_id="default",
            strategy=strategy_of(users).ref,
            symbol=SYMBOL,
            tier=_TIERS[number % 3],
            entitled_until_ns=time.time_ns() + _YEAR_NS,
            risk=RiskSettings(scale=_SCALES[number // 3 % 3]),
        )


def prediction(users: int, number: int, *, epoch: int, tick_ns: int, rng: Random) -> Prediction:
    """The `number`-th slot of a crowd's strategy, due at `tick_ns`."""
    slot = _slot(strategy_of(users).ref, _FIRST_CLOSE_MS + number * _BAR_MS)
    middle = rng.gauss(0.0, 1e-4)
    return Prediction(
        epoch=epoch,
        slot=slot,
        asof_ms=slot.bar_close_ms - 7,
        generated_ns=tick_ns,
        expires_ns=tick_ns + _TTL_NS,
        stages={"tick": tick_ns, "window": tick_ns, "decided": tick_ns, "sent": tick_ns, "inferred": tick_ns},
        traceparent=ids.traceparent(rng),
        forecast=_forecast(middle),
        reference=ReferencePrice(bid=1.38613, ask=1.38622, ts_ms=slot.bar_close_ms - 7),
        lineage=_lineage(rng),
        decision=None,
    )


def _slot(strategy: str, close_ms: int) -> Slot:
    derived = ids.signal_id(strategy=strategy, symbol=SYMBOL, bar_close_ms=close_ms, horizon_ms=_HORIZON_MS)
    return Slot(
        signal_id=str(derived),
        strategy=strategy,
        symbol=SYMBOL,
        bar_ms=_BAR_MS,
        horizon_ms=_HORIZON_MS,
        bar_close_ms=close_ms,
    )


def _forecast(middle: float) -> Forecast:
    return Forecast(
        q05=middle - 3e-4,
        q50=middle,
        q95=middle + 3e-4,
        lower=middle - 3e-4,
        upper=middle + 3e-4,
        level=0.9,
        prob_up=0.5,
        in_distribution=True,
    )


def _lineage(rng: Random) -> Lineage:
    return Lineage(
        model="benchmark",
        version="1",
        artifact_sha256=f"{rng.getrandbits(256):064x}",
        calibration="1",
        replica="benchmark#1",
        decision_id=ids.random_id(rng),
        attempts=1,
        inference_us=500,
        queue_us=5,
        degradation=Degradation.NONE,
    )
