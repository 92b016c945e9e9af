"""Quantiles of completion times: near what was seen, whatever was put together in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.trials.quantiles import ACCURACY, LEAST, Quantiles

NUMBERS = st.lists(st.floats(LEAST, 1e9), min_size=1, max_size=200)


def of(numbers: list[float]) -> Quantiles:
    """What has taken these numbers."""
    made = Quantiles()
    for number in numbers:
        made.add(number)
    return made


@given(NUMBERS, st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_each_is_near_the_number_of_its_rank(numbers: list[float], shares: list[float]) -> None:
    """For any shares, from the least to the largest number."""
    shares, ordered = [0.0, *sorted(shares), 1.0], sorted(numbers)

    for share, found in zip(shares, of(numbers).at(*shares), strict=True):
        exact = ordered[int(share * (len(ordered) - 1))]
        assert found == pytest.approx(exact, rel=ACCURACY * 1.001)


@given(NUMBERS, NUMBERS)
def test_parts_put_together_are_the_whole(one: list[float], other: list[float]) -> None:
    """Exactly, and the part that was added stays as it was."""
    shares = (0.0, 0.25, 0.5, 0.99, 1.0)
    merged, added = of(one), of(other)
    merged.merge(added)

    assert merged.at(*shares) == of(one + other).at(*shares)
    assert added.at(*shares) == of(other).at(*shares)


def test_of_nothing_there_are_none() -> None:
    """One None for each that was asked for."""
    assert Quantiles().at(0.5, 0.99) == (None, None)


@pytest.mark.parametrize("number", [0.0, -5.0, 1e-300])
def test_what_is_no_time_counts_as_the_least(number: float) -> None:
    """A clock that was set back makes no hole."""
    (found,) = of([number]).at(0.5)

    assert found == pytest.approx(LEAST, rel=ACCURACY)
