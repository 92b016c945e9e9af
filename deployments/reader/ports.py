"""What a reader writes down, and where: the port of its store."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from models.signal import Signal
from signals.reader import Series

_LOG: Final = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a delivery; each has exactly one."""

    ACTED = "acted"
    EXPIRED = "expired"
    """It came too late, so nobody acts."""
    FAILED = "failed"
    """The service's own act failed, or the clocks disagree; the detail says which. Nobody tries again."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What is put down of one delivery; `at_ns` is wall time, `offset` its place in the partition."""

    outcome: Outcome
    signal: Signal
    offset: int
    at_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SlotState:
    """The newest slot of a series. `sealed`: nothing more of it counts; else these deliveries are in."""

    bar_close_ms: int
    part: tuple[int, int]
    sealed: bool
    deliveries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Settled:
    """How far a reader is in a partition: all records before `position` have had their effect.

    `claims` are the last ones before it, `sequences` the last number per user. What is given to `apply` may
    name only the users who moved; those who are not named stay as they were.
    """

    position: int
    claims: tuple[int, ...]
    sequences: Mapping[str, int] = field(default_factory=dict)
    slots: Mapping[Series, SlotState] = field(default_factory=dict)


class EffectStore(Protocol):
    """Effects and the place they came from, in one store. Implementations: memory and SQLite; one contract
    suite in `tests/contracts` runs on both.
    """

    async def load(self, partition: int) -> Settled | None:
        """How far the partition is settled; None if nothing ever was."""
        ...

    async def apply(
        self, partition: int, effects: Sequence[Effect], settled: Settled, *, after: int | None
    ) -> None:
        """All of the effects and the new place, or nothing. A delivery that had its effect has no second one.

        Raises StaleWriter, having changed nothing, unless the stored position is `after` (None: there is
        none): another reader was here. Raises StoreUnavailable, having changed nothing, if the store cannot
        take it now; it never waits long, because signals expire.
        """
        ...

    async def close(self) -> None: ...


class GapKind(StrEnum):
    """What was missing, and whether the log still had it."""

    FILLED = "filled"
    """Offsets that the consumer skipped were read back; their signals had their effect in order."""
    REMOVED = "removed"
    """Offsets that the consumer skipped are not in the log any more."""
    NUMBERS = "numbers"
    """A user's sequence skips, and the log between holds no valid record of it."""


@dataclass(frozen=True, slots=True)
class Gap:
    """[start, stop) of offsets in the partition, or of the user's sequence numbers."""

    kind: GapKind
    partition: int
    start: int
    stop: int
    user_id: str | None = None


Act = Callable[[Signal], Awaitable[None]]
"""Does something outside of the store. It may be called again for the same `delivery_id` after a crash, so it
must have one effect per `delivery_id`."""


def _log(gap: Gap) -> None:
    _LOG.warning("gap: %s", gap)


@dataclass(frozen=True, slots=True)
class Service:
    """What a service brings. `name` is its consumer group; `users` limits it to these (None: all of them);
    `act` does what is not in the store; `on_gap` is told of everything that was missing.
    """

    name: str
    users: Collection[str] | None = None
    act: Act | None = None
    on_gap: Callable[[Gap], None] = _log

    def wants(self, user_id: str) -> bool:
        """Whether signals of the user are acted on here."""
        return self.users is None or user_id in self.users
