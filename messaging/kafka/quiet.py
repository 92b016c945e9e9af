"""Keeps aiokafka's log readable while a broker is away: it says the same some hundred times a second then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

_LOGGERS: Final = (
    "aiokafka",
    "aiokafka.conn",
    "aiokafka.cluster",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.sender",
)
EVERY_S: Final = 5.0


class Repeats(logging.Filter):
    """Lets a message through once in a while and tells how many like it were left out. Two are alike that
    come from one line of code, whatever their numbers.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter.filter`."""
        place, now_s = (record.pathname, record.lineno), self._clock()
        last_s, left_out = self._last.get(place, (-EVERY_S, 0))
        if now_s - last_s < EVERY_S:
            self._last[place] = last_s, left_out + 1
            return False
        self._last[place] = now_s, 0
        if left_out:
            record.msg = f"{record.getMessage()} (and {left_out} times in the {now_s - last_s:.0f} s before)"
            record.args = ()
        return True


_REPEATS: Final = Repeats()


def keep_quiet() -> None:
    """Put the filter where aiokafka logs; calling it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_REPEATS)
