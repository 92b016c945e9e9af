"""The answer ladder: what stands in for an answer that cannot be had in time, chosen before the time is lost.

    what was asked -> a smaller model -> the last good answer, with its age -> a typed refusal

The first two rungs are decisions, made here; the third belongs to whoever keeps answers, and gets its chance
while there is still time for it: `reserve_ms` of the deadline are kept back. Each rung below the first is
labelled in the decision. A requirement is never given up: what a smaller model answers has to be as accurate
as was asked, for the same task, instrument and horizon. Only the wish for one model by name is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from models.decision import Degradation
from models.request import Requirements

_RESERVED_SHARE: Final = 0.05
_MOST_RESERVED_MS: Final = 10.0


def rungs(wanted: Requirements) -> Iterator[tuple[Degradation, Requirements]]:
    """What to decide on, best first, with the label of an answer found there."""
    yield Degradation.NONE, wanted
    if wanted.model is not None:
        yield Degradation.SMALLER_MODEL, wanted.model_copy(update={"model": None})


def reserve_ms(latency_ms: float) -> float:
    """How much of a deadline to keep back for an answer from memory: a twentieth, at most 10 ms."""
    return min(_MOST_RESERVED_MS, latency_ms * _RESERVED_SHARE)
