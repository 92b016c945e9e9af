"""Made-up records for the tests of projection, encoding and reading."""

from __future__ import annotations

from models import ids
from models.decision import Degradation
from models.forecast import Forecast
from models.prediction import Lineage, Prediction, ReferencePrice, Skipped, SkipReason, Slot
from models.principal import Tier
from models.signal import Source
from models.strategy import TargetFractionPolicy
from models.subscription import RiskSettings, Subscription
from signals.book import Subscriber
from signals.encoding import Body

NOW_NS = 1_795_000_000_000_000_000
TTL_NS = 5_000_000_000
BAR_MS = 10_000
CLOSE_MS = 1_400_000_000_000
LINEAGE = Lineage(
    model="ridge",
    version="1",
    artifact_sha256="a" * 64,
    calibration="c1",
    replica="r#1",
    decision_id="d" * 32,
    attempts=1,
    inference_us=10,
    queue_us=2,
    degradation=Degradation.NONE,
)


def slot(close_ms: int = CLOSE_MS, *, strategy: str = "alpha@1", symbol: str = "EURUSD") -> Slot:
    """A slot with its true id."""
    signal_id = ids.signal_id(strategy=strategy, symbol=symbol, bar_close_ms=close_ms, horizon_ms=60_000)
    return Slot(
        signal_id=str(signal_id),
        strategy=strategy,
        symbol=symbol,
        bar_ms=BAR_MS,
        horizon_ms=60_000,
        bar_close_ms=close_ms,
    )


def forecast(q50: float = 1e-5, *, half_width: float = 1e-4) -> Forecast:
    """An interval around a median."""
    return Forecast(
        q05=q50 - half_width,
        q50=q50,
        q95=q50 + half_width,
        lower=q50 - half_width,
        upper=q50 + half_width,
        level=0.9,
        prob_up=0.5,
        in_distribution=True,
    )


def prediction(owed: Slot | None = None, *, epoch: int = 0, q50: float = 1e-5) -> Prediction:
    """A forecast for the slot."""
    owed = owed or slot()
    return Prediction(
        epoch=epoch,
        slot=owed,
        asof_ms=owed.bar_close_ms - 1,
        generated_ns=NOW_NS,
        expires_ns=NOW_NS + TTL_NS,
        stages={"tick": NOW_NS},
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        forecast=forecast(q50),
        reference=ReferencePrice(bid=1.1, ask=1.1001, ts_ms=owed.bar_close_ms - 1),
        lineage=LINEAGE,
        decision=None,
    )


def skipped(owed: Slot | None = None, *, epoch: int = 0) -> Skipped:
    """A slot without a forecast."""
    owed = owed or slot()
    return Skipped(
        epoch=epoch,
        slot=owed,
        asof_ms=owed.bar_close_ms - 1,
        generated_ns=NOW_NS,
        expires_ns=NOW_NS + TTL_NS,
        stages={},
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        reason=SkipReason.REFUSED,
        detail='no model "fits"',
    )


def subscription(
    user_id: str = "user-1",
    account_id: str = "main",
    *,
    scale: float = 1.0,
    max_fraction: float = 1.0,
    symbol: str = "EURUSD",
    entitled_until_ns: int = NOW_NS + TTL_NS,
) -> Subscription:
    """A subscription to `alpha@1`."""
    return Subscription(
        user_id=user_id,
        tenant_id="tenant",
        account_id=account_id,
        strategy="alpha@1",
        symbol=symbol,
        tier=Tier.PRO,
        entitled_until_ns=entitled_until_ns,
        risk=RiskSettings(scale=scale, max_fraction=max_fraction),
    )


def signal_bytes(
    *,
    close_ms: int = CLOSE_MS,
    user_id: str = "user-1",
    account_id: str = "main",
    sequence: int = 1,
    epoch: int = 0,
    source: tuple[int, int] = (0, 1),
    part: tuple[int, int] = (1, 1),
    clock_error_ns: int = 0,
) -> bytes:
    """A rendered signal of the slot that closes at `close_ms`."""
    place = Source(partition=source[0], offset=source[1], epoch=0)
    body = Body(
        prediction(slot(close_ms)),
        source=place,
        policy=TargetFractionPolicy(),
        clock_error_ns=clock_error_ns,
    )
    batch = body.batch(epoch=epoch, part=part, subscription_offset=7, now_ns=NOW_NS)
    one = Subscriber.of(subscription(user_id, account_id))
    return batch.render([one], [sequence], [body.outcome(one.cases.flat)])[0]
