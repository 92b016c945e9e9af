"""What can go wrong on the memory bus: probabilities and delays that a simulation may change at any time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Fate(StrEnum):
    """What becomes of one append."""

    OK = "ok"
    REFUSED = "refused"
    LOST = "lost"
    ACK_LOST = "ack_lost"
    LATE = "late"
    REPEATED = "repeated"


@dataclass(slots=True)
class Faults:
    """Probabilities per append (they exclude each other), then one-way delays in seconds.

    `refuse`: nothing lands, AppendRefused. `lose`: nothing lands, AppendUnknown at the timeout.
    `lose_ack`: it lands, AppendUnknown at the timeout. `late`: the same, but it lands up to `late_s` later,
    even after the producer was rebuilt. `repeat`: it lands twice, as by a retry of a producer that is not
    idempotent, and the second offset is acknowledged. `drop_tick`: a tick that followers never see.
    """

    refuse: float = 0.0
    lose: float = 0.0
    lose_ack: float = 0.0
    late: float = 0.0
    repeat: float = 0.0
    drop_tick: float = 0.0
    late_s: float = 10.0
    delay_s: tuple[float, float] = (0.0, 0.0)

    def fate(self, rng: Random) -> Fate:
        """Draw what becomes of the next append."""
        draw = rng.random()
        for fate, probability in (
            (Fate.REFUSED, self.refuse),
            (Fate.LOST, self.lose),
            (Fate.ACK_LOST, self.lose_ack),
            (Fate.LATE, self.late),
            (Fate.REPEATED, self.repeat),
        ):
            if draw < probability:
                return fate
            draw -= probability
        return Fate.OK

    def delay(self, rng: Random) -> float:
        """Seconds one message takes one way."""
        return rng.uniform(*self.delay_s)
