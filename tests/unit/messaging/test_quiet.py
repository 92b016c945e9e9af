"""A broker that is away does not fill the disk with log lines."""

from __future__ import annotations

import logging

import pytest

from messaging.kafka.quiet import EVERY_S, Repeats


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    """A logger with a filter of its own, on a clock that `now_s` moves."""
    made = logging.getLogger("tests.quiet")
    made.filters.clear()
    return made


def test_repeats_are_counted_instead_of_logged(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """One in five seconds, which says how many it stands for; another line of code is another message."""
    now_s = [0.0]
    logger.addFilter(Repeats(lambda: now_s[0]))

    def fail(node: int) -> None:
        logger.error("no connection to node %s", node)

    for node in range(100):
        fail(node)
    logger.error("something else")
    now_s[0] = EVERY_S
    fail(7)

    assert caplog.messages == [
        "no connection to node 0",
        "something else",
        "no connection to node 7 (and 99 times in the 5 s before)",
    ]
