"""What the tests lean on: waiting with a deadline, and the rule for a missing Apache Kafka."""

from __future__ import annotations

import itertools

import pytest

from tests.conftest import REQUIRE_KAFKA, without_kafka
from tests.support.eventually import eventually


async def test_eventually_returns_the_first_true_answer() -> None:
    """Checks may be plain or awaitable; the answer itself comes back."""
    counter = itertools.count()

    async def third_time() -> int:
        return max(0, next(counter) - 1)

    assert await eventually(third_time) == 1
    assert await eventually(lambda: "yes") == "yes"


async def test_eventually_repeats_an_assertion_and_then_quotes_it() -> None:
    """A check that never holds ends at the deadline with its own complaint."""

    def never() -> bool:
        raise AssertionError("two records missing")

    with pytest.raises(AssertionError, match=r"not within 0\.05 s: two records missing"):
        await eventually(never, timeout_s=0.05)


async def test_eventually_lets_other_errors_through() -> None:
    """Only an assertion means "not yet"; a broken check is seen at once."""
    answers: dict[str, bool] = {}
    with pytest.raises(KeyError):
        await eventually(lambda: answers["absent"])


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_kafka_fails_where_it_is_required(
    required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI cannot turn green by leaving Kafka out; a newcomer's run skips, with the reason."""
    monkeypatch.setenv(REQUIRE_KAFKA, required)
    with pytest.raises(outcome, match="no Apache Kafka: no Java"):
        without_kafka("no Java")
