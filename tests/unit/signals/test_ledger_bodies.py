"""Parsing a signal in two pieces gives what parsing it in one gives, or does not happen."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from signals.ledger.bodies import Bodies
from tests.unit.signals.records import signal_bytes

SIGNAL = signal_bytes()
OTHER = signal_bytes(user_id="user-2", sequence=9)


def in_one(value: bytes) -> tuple[Any, ...]:
    """What the ledger takes from a value, parsed whole: reordered, so that no cut is found."""
    body = orjson.loads(value)
    shared, own = Bodies().parse(orjson.dumps({"delivery_id": body.pop("delivery_id"), **body}))
    return (
        *shared[:-1],
        *(own[name] for name in ("delivery_id", "user_id", "account_id", "sequence", "kind")),
    )


@pytest.mark.parametrize(
    "value",
    [
        SIGNAL,
        SIGNAL[:-1] + b',"epoch":7}',
        SIGNAL.replace(b'"traceparent":"', rb'"traceparent":"\",\"delivery_id\":'),
        SIGNAL.replace(b'"stages":{', b'"stages":{"x":1,"delivery_id":2,'),
        orjson.dumps(orjson.loads(SIGNAL), option=orjson.OPT_INDENT_2),
    ],
    ids=["as written", "a shared member again", "the cut in a string", "the cut inside", "spaced"],
)
def test_two_pieces_are_as_good_as_one(value: bytes) -> None:
    """Also where a member comes twice, or where the place of the cut is not at the top."""
    bodies = Bodies()
    bodies.parse(OTHER)

    shared, own = bodies.parse(value)

    found = tuple(own[name] for name in ("delivery_id", "user_id", "account_id", "sequence", "kind"))
    assert (*shared[:-1], *found) == in_one(value)


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{}", b"\xff", SIGNAL[:-1], SIGNAL.replace(b'"source"', b'"s"')]
)
def test_what_is_no_signal_is_refused(value: bytes) -> None:
    """With an error of parsing, whatever was parsed before."""
    bodies = Bodies()
    bodies.parse(SIGNAL)

    with pytest.raises((ValueError, KeyError, TypeError)):
        bodies.parse(value)
