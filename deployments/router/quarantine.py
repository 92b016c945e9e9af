"""Keeps a model that crashes its replicas from crashing all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_CRASHES: Final = 2
_NS: Final = 1_000_000_000


@dataclass(slots=True)
class _Suspect:
    """A model that was in flight in a crash and has not succeeded since."""

    crashes: int = 0
    until_ns: int = 0
    probing: bool = False


class Quarantine:
    """A second crash of a model, with no success of that model in between, shuts it out for `for_s`; then one
    call at a time may try it, until one succeeds.

    A crash is charged to every model in flight on the replica, because nobody knows which of them it was; the
    innocent ones clear themselves by their next success. Belongs to one event loop; time is passed in.
    """

    def __init__(self, *, for_s: float = 60.0) -> None:
        self._for_ns = int(for_s * _NS)
        self._suspects: dict[str, _Suspect] = {}
        self._crashed: deque[str] = deque(maxlen=256)

    def crashed(self, replica: str, models: Iterable[str], now_ns: int) -> None:
        """Charge a crash to the models in flight. A replica crashes once, however many calls say so."""
        if replica in self._crashed:
            return
        self._crashed.append(replica)
        for model in models:
            suspect = self._suspects.setdefault(model, _Suspect())
            suspect.crashes += 1
            suspect.probing = False
            if suspect.crashes >= _CRASHES:
                suspect.until_ns = now_ns + self._for_ns

    def shut_out(self, now_ns: int) -> frozenset[str]:
        """Models that may not be tried now."""
        return frozenset(
            model
            for model, suspect in self._suspects.items()
            if suspect.crashes >= _CRASHES and (now_ns < suspect.until_ns or suspect.probing)
        )

    def remaining_s(self, model: str, now_ns: int) -> float:
        """Until the model may be tried again; 0 if it may be, or is being tried."""
        suspect = self._suspects.get(model)
        return max(0, suspect.until_ns - now_ns) / _NS if suspect else 0.0

    def sent(self, model: str) -> None:
        """A call leaves for the model; if that had been shut out, it is the probe."""
        if (suspect := self._suspects.get(model)) and suspect.crashes >= _CRASHES:
            suspect.probing = True

    def ended(self, model: str, *, succeeded: bool) -> None:
        """A call to the model ended without a crash."""
        if succeeded:
            self._suspects.pop(model, None)
        elif suspect := self._suspects.get(model):
            suspect.probing = False
