"""A consumer that stands still is told from one that has nothing to read."""

from __future__ import annotations

import pytest

from messaging.kafka.progress import Progress


@pytest.fixture
def progress() -> Progress[str]:
    """Nine seconds of patience."""
    return Progress(9.0)


def test_one_that_stays_behind_is_stuck_after_its_patience(progress: Progress[str]) -> None:
    """However far the end moves meanwhile."""
    assert not progress.look({"a": 5}, {"a": 6}, 3.0)
    assert not progress.look({"a": 5}, {"a": 60}, 11.9)
    assert progress.look({"a": 5}, {"a": 61}, 12.0) == {"a"}


def test_one_that_moves_is_not_stuck(progress: Progress[str]) -> None:
    """Also if it never gets to the end."""
    for second in range(60):
        assert not progress.look({"a": second}, {"a": 1000}, float(second))


def test_an_idle_one_is_not_stuck(progress: Progress[str]) -> None:
    """A record that lands just before a look after a long silence proves nothing."""
    progress.look({"a": 5}, {"a": 5}, 0.0)

    assert not progress.look({"a": 5}, {"a": 6}, 1000.0)


def test_one_that_was_held_begins_anew(progress: Progress[str]) -> None:
    """A partition that is not looked at is forgotten; a deaf one beside busy ones is found."""
    progress.look({"a": 5, "b": 1}, {"a": 9, "b": 9}, 0.0)
    progress.look({"b": 2}, {"a": 9, "b": 9}, 5.0)

    assert not progress.look({"a": 5, "b": 3}, {"a": 9, "b": 9}, 10.0)
    assert progress.look({"a": 5, "b": 4}, {"a": 9, "b": 9}, 19.0) == {"a"}
