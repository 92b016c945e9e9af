"""What the test of cross-talk would see if there were any."""

from __future__ import annotations

import httpx2
import orjson
import pytest

from tests.support.canaries.resident import MODELS, Resident
from tests.support.canaries.search import Records
from tests.support.canaries.seen import Seen

ANN = Resident("talk-1", "u-ann", "a" * 32, "11111111111111", [], "")
BEN = Resident("talk-10", "u-ben", "b" * 32, "22222222222222", [], "")
ALONE = {ANN: 1e-4, BEN: -2e-4}


@pytest.fixture
def seen() -> Seen:
    """With what each model says of each one's features."""
    seen = Seen([ANN, BEN])
    for who, middle in ALONE.items():
        for model in MODELS:
            seen.forecast_alone(who, model, forecast(middle, model))
    return seen


def forecast(middle: float, model: str = MODELS[0]) -> httpx2.Response:
    """As a gateway answers."""
    return httpx2.Response(200, json={"choice": {"model": model}, "forecasts": [{"q50": middle}]})


def frame(who: Resident) -> dict[str, object]:
    """A signal on a stream."""
    return {"tenant_id": who.tenant_id, "user_id": who.user_id, "account_id": who.canary}


@pytest.mark.parametrize("word", [BEN.canary, f"0.0001{BEN.digits}"])
def test_a_foreign_word_is_seen_wherever_it_stands(seen: Seen, word: str) -> None:
    """In the answer or a header of it."""
    seen.take(ANN, "/config/talk-1", httpx2.Response(200, json={"name": word}))
    seen.take(ANN, "/config/talk-1", httpx2.Response(200, headers={"x-name": word}))

    assert len(seen.foreign) == 2


def test_a_forecast_of_other_features_is_seen(seen: Seen) -> None:
    """Rounding is none; the other's forecast is, and so is one of a mixture."""
    for middle in (1e-4, 1e-4 + 1e-9, -2e-4, 0.5e-4):
        seen.take(ANN, "/api/v1/infer", forecast(middle))

    assert seen.own["forecast"] == 2
    assert len(seen.foreign) == 2


def test_a_foreign_signal_is_seen(seen: Seen) -> None:
    """By its account, and without one by its user."""
    seen.take_frame(ANN, frame(ANN))
    seen.take_frame(ANN, {"type": "beat"})
    assert (seen.foreign, seen.own["stream"]) == ([], 1)

    seen.take_frame(ANN, frame(BEN))
    seen.take_frame(ANN, {**frame(ANN), "user_id": BEN.user_id})
    assert len(seen.foreign) == 3


@pytest.mark.parametrize(
    ("key", "value", "misplaced"),
    [
        (b"u-ann", frame(ANN), 0),
        (b"u-ben", frame(ANN), 1),
        (b"u-ann", {"account_id": BEN.canary}, 1),
        (b"slot", {"window": f"0.0001{ANN.digits}"}, 1),
        (b"EURUSD", {"close": 1.38}, 0),
    ],
)
def test_a_record_with_a_canary_names_its_tenant_or_user_and_no_other(
    key: bytes, value: dict[str, object], misplaced: int
) -> None:
    """`talk-10` is another than `talk-1`."""
    records = Records([ANN, BEN])
    records.look("topic", key + b"\n" + orjson.dumps(value))

    assert len(records.misplaced) == misplaced
