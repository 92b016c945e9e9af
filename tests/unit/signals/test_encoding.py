"""The bytes of a signal: valid for any ids, derived ids, and the same as the slow way."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import ids
from models.events import Claim
from models.prediction import Prediction, Skipped
from models.signal import Kind, Signal, Source
from models.strategy import TargetFractionPolicy
from signals.book import Subscriber
from signals.encoding import Body, check_signal, decode_owed, encode
from tests.unit.signals.records import NOW_NS, prediction, signal_bytes, skipped, slot, subscription

SOURCE = Source(partition=3, offset=77, epoch=5)
user_ids = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
account_ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def body(owed: Prediction | Skipped) -> Body:
    """A body as the fan-out makes it."""
    return Body(owed, source=SOURCE, policy=TargetFractionPolicy(), stages={"acked": NOW_NS + 1})


def render(of: Body, user_id: str, account_id: str, *, scale: float = 1.0) -> Signal:
    """The rendered signal of one subscriber, parsed by the contract."""
    batch = of.batch(epoch=8, part=(2, 3), subscription_offset=99, now_ns=NOW_NS + 2)
    subscriber = Subscriber.of(subscription(user_id, account_id, scale=scale))
    outcome = of.outcome(subscriber.cases.flat)
    (rendered,) = batch.render([subscriber], [12], [outcome])
    assert len(rendered) <= batch.shared_bytes + subscriber.own_bytes + len(outcome.ending)
    return Signal.model_validate_json(rendered)


@given(user_ids, account_ids, st.floats(min_value=-1e-3, max_value=1e-3), st.floats(0, 10))
def test_rendered_bytes_are_a_valid_signal_for_any_ids(
    user_id: str, account_id: str, q50: float, scale: float
) -> None:
    """Quotes, backslashes and control characters in ids neither break nor forge anything."""
    signal = render(body(prediction(q50=q50)), user_id, account_id, scale=scale)

    assert (signal.user_id, signal.account_id) == (user_id, account_id)
    assert check_signal(signal) == []


@given(user_ids, account_ids)
def test_the_fast_delivery_id_is_the_defined_one(user_id: str, account_id: str) -> None:
    """Text put together by hand equals the UUID that `models.ids` derives."""
    derived = ids.delivery_id(
        ids.delivery_prefix(UUID(slot().signal_id)), user_id=user_id, account_id=account_id
    )

    subscriber = Subscriber.of(subscription(user_id, account_id))
    assert body(prediction()).delivery_id(subscriber) == str(derived)
    assert derived.version == 8


def test_a_signal_carries_everything_of_its_prediction_and_of_its_batch() -> None:
    """Lineage, stages, source, epoch, part and sequence arrive unchanged."""
    owed = prediction()
    signal = render(body(owed), "u1", "a1")

    assert (signal.forecast, signal.lineage, signal.reference) == (
        owed.forecast,
        owed.lineage,
        owed.reference,
    )
    assert signal.source == SOURCE
    assert signal.stages == {"tick": NOW_NS, "acked": NOW_NS + 1}
    assert (signal.epoch, signal.part, signal.sequence) == (8, (2, 3), 12)
    assert (signal.subscription_offset, signal.projected_ns) == (99, NOW_NS + 2)
    assert signal.kind is Kind.ADJUST


def test_a_skipped_slot_is_rendered_as_an_abstain_with_the_reason() -> None:
    """Its subscribers get a delivery that says why there is no forecast."""
    of = body(skipped())
    signal = render(of, "u1", "a1")

    assert (signal.kind, signal.forecast, signal.lineage) == (Kind.ABSTAIN, None, None)
    assert signal.reason == 'no forecast: refused (no model "fits")'
    assert of.outcome(Subscriber.of(subscription()).cases.flat).kind == "abstain"


def test_a_signal_says_how_its_user_shaped_it() -> None:
    """Stretched six times, then clipped to the account: tier, scale and the limit that was hit are there."""
    signal = render(body(prediction()), "u1", "a1", scale=6.0)

    assert signal.target_fraction == 1.0
    assert (signal.risk.tier, signal.risk.scale, signal.risk.limits_hit) == ("pro", 6.0, ("max_fraction",))


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("signal_id", "00000000-0000-0000-0000-000000000000", "signal_id should be"),
        ("user_id", "somebody-else", "delivery_id should be"),
        ("part", (4, 3), "part is not one of its batches"),
        ("sequence", 0, "sequence starts at 1"),
        ("target_fraction", 1.5, "target_fraction lies outside"),
    ],
)
def test_what_breaks_an_invariant_is_named(field: str, value: object, complaint: str) -> None:
    """The strict check says what is wrong, not only that something is."""
    signal = Signal.model_validate_json(signal_bytes()).model_copy(update={field: value})

    assert [text for text in check_signal(signal) if text.startswith(complaint)]


@pytest.mark.parametrize("owed", [prediction(), skipped()])
def test_owed_records_survive_the_wire(owed: Prediction | Skipped) -> None:
    """What the forecaster writes is what the fan-out reads."""
    assert decode_owed(encode(owed)) == owed


def test_control_records_name_their_schema() -> None:
    """A foreign reader can tell what it found."""
    assert b'"schema":"hub.claim/1"' in encode(Claim(owner="w", nonce="n", claimed_ns=1))
