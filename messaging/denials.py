"""What a broker denied this process: logged, counted, and put in words that name who may not do what."""

from __future__ import annotations

import logging
from typing import Final

from models.metrics import Meter

_LOG: Final = logging.getLogger(__name__)
_ADVICE: Final = "`hub topics acls` prints what each principal may do"


class Denials:
    """Of one connection to one broker. A meter is for processes that have one; the log is for all."""

    def __init__(self, broker: str, principal: str | None, meter: Meter | None = None) -> None:
        self.count = 0
        self.last = ""
        self._broker = broker
        self._principal = principal or "anonymous"
        self._meter = meter

    def note(self, what: str) -> str:
        """Count a denial; the text says who was denied what. Logged at every power of two of the count."""
        self.count += 1
        self.last = f"{what}: {self._broker} denies this to principal {self._principal}; {_ADVICE}"
        if self.count & (self.count - 1) == 0:
            _LOG.error("%s (%d denied so far)", self.last, self.count)
        if self._meter is not None:
            labels = {"broker": self._broker, "principal": self._principal}
            self._meter.count("hub_denied_total", labels)
        return self.last
