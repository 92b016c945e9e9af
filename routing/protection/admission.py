"""Who may go now, who waits, and who is refused at once: the queue before the decision.

    enter   a place is free -> admitted
            it cannot be in time -> shed at once, with the reason and when to come again
            otherwise it waits: critical before bulk, tenants in turn, earliest deadline first
    leave   a place becomes free -> the next that can still be in time is admitted, those that cannot are shed

Waiting here and not on a replica keeps the choice open until the call can start, and lets what is urgent
overtake. There are never more inside than there are places, and never more than `max_waiting` wait; a full
queue gives up the least important and latest request. Whether an answer in time is possible at all is the
engine's question; here it is only whether waiting for a place leaves time enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from models.base import Frozen
from models.errors import Shed
from models.request import Priority, Requirements
from routing.protection.fair_queue import FairQueue, Place
from routing.protection.turnover import Turnover, kind_of

ORDER: Final = (Priority.CRITICAL, Priority.BULK)
"""What goes first."""
_LEAST_RETRY_S: Final = 0.01


class AdmissionConfig(Frozen):
    """How long the queue may grow, and who gives way.

    `critical_share` is how many places more there are for critical requests, as a share, rounded up: what is
    urgent need not wait until bulk has ended, nor for other processes that hold more than their part. `lead`
    is how many turns a tenant may have more than another that waits. `level` is the share of requests that
    stay within the time that is kept for them.
    """

    critical_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    max_waiting: Annotated[int, Field(ge=0)] = 1024
    lead: Annotated[int, Field(ge=0)] = 4
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95


class State(StrEnum):
    """Where a request stands: it waits, is inside, was refused, or has left."""

    WAITING = "waiting"
    INSIDE = "inside"
    SHED = "shed"
    GONE = "gone"


class Reason(StrEnum):
    """Why a request was shed."""

    WAIT_TOO_LONG = "wait_too_long"
    QUEUE_FULL = "queue_full"
    TOO_LATE = "too_late"


_INSIDE, _GONE = (
    State.INSIDE,
    State.GONE,
)  # a look-up in an enumeration takes a tenth of what a whole stay does


class Entry:
    """One request at the door. `refusal` is set once it is shed."""

    __slots__ = ("inside_ns", "kind", "place", "refusal", "state", "wanted")

    def __init__(self, wanted: Requirements, number: int, now_ns: int) -> None:
        self.wanted = wanted
        self.kind = kind_of(wanted)
        self.place: Place = (wanted.deadline_ns, number)
        self.inside_ns = now_ns
        self.state = _INSIDE
        self.refusal: Shed | None = None


class Admission:
    """The door of one process. `settled` is told of each request that waited and is now inside or shed.

    Belongs to one thread. Whoever enters leaves exactly once.
    """

    def __init__(self, config: AdmissionConfig, *, places: int, settled: Callable[[Entry], None]) -> None:
        self._config = config
        self._settled = settled
        self._inside = 0
        self._numbers = itertools.count()
        self._queues = {priority: FairQueue(lead=config.lead) for priority in ORDER}
        self._entries: dict[Place, Entry] = {}
        self._turnover = Turnover(level=config.level)
        self.resize(places, now_ns=0)

    @property
    def inside(self) -> int:
        return self._inside

    @property
    def waiting(self) -> int:
        return len(self._entries)

    def enter(self, wanted: Requirements, *, now_ns: int) -> Entry:
        """A new request: inside, or waiting, or shed because nobody gives way. Raises Shed if it would wait
        for too long.
        """
        entry = Entry(wanted, next(self._numbers), now_ns)
        priority = wanted.priority
        if self._inside < self._rooms[priority] and not (self._entries and self._before(priority)):
            self._inside += 1
            self._turnover.admitted(priority)
            return entry
        self._refuse_late(entry, now_ns)
        self._wait(entry)
        return entry

    def leave(self, entry: Entry, *, now_ns: int, measured: bool = True) -> None:
        """The request is done, or whoever asked has given up; only the first time counts.

        `measured` tells whether it had its place for as long as an answer takes, so that others are predicted
        from it.
        """
        state, entry.state = entry.state, _GONE
        if state is State.WAITING:
            self._withdraw(entry)
        elif state is _INSIDE:
            self._inside -= 1
            if measured:
                self._turnover.held(entry.kind, (now_ns - entry.inside_ns) / 1e6)
            if self._entries:
                self._fill(now_ns)

    def resize(self, places: int, *, now_ns: int) -> None:
        """From now on so many may be inside, at least one; nobody is thrown out."""
        self._places = max(1, places)
        extra = math.ceil(self._places * self._config.critical_share)
        self._rooms = {Priority.CRITICAL: self._places + extra, Priority.BULK: self._places}
        if self._entries:
            self._fill(now_ns)

    def latest_ns(self, entry: Entry) -> int:
        """Until when a waiting request has to be admitted to be in time."""
        return entry.wanted.deadline_ns - int(self._turnover.needed_ms(entry.kind) * 1e6)

    def expire(self, entry: Entry) -> None:
        """Shed a request if it still waits; for when `latest_ns` has come."""
        if entry.state is State.WAITING:
            self._give_up(entry, Reason.TOO_LATE, "no place became free in time")

    def _refuse_late(self, entry: Entry, now_ns: int) -> None:
        """Raise Shed if after the predicted wait too little time is left."""
        wanted = entry.wanted
        same = self._queues[wanted.priority].ahead(wanted.tenant, wanted.deadline_ns)
        wait_ms = self._wait_ms(wanted.priority, same)
        if now_ns + int(wait_ms * 1e6) > self.latest_ns(entry):
            why = f"a place is free in about {wait_ms:.0f} ms, which leaves too little time"
            raise self._refusal(entry, Reason.WAIT_TOO_LONG, why)

    def _wait(self, entry: Entry) -> None:
        """Let it wait. If that is one too many, the latest request of the least important is given up."""
        entry.state = State.WAITING
        self._entries[entry.place] = entry
        self._queues[entry.wanted.priority].add(entry.wanted.tenant, entry.place)
        if len(self._entries) > self._config.max_waiting:
            lowest = next(self._queues[priority] for priority in reversed(ORDER) if self._queues[priority])
            _, place = lowest.last()
            self._give_up(
                self._entries[place], Reason.QUEUE_FULL, f"{self._config.max_waiting} requests wait already"
            )

    def _fill(self, now_ns: int) -> None:
        """Give free places to those whose turn it is."""
        while self._entries:
            entry = self._first()
            if self._inside >= self._rooms[entry.wanted.priority]:
                return
            if now_ns > self.latest_ns(entry):
                self._give_up(entry, Reason.TOO_LATE, "its turn came too late")
                continue
            del self._entries[entry.place]
            self._queues[entry.wanted.priority].take(entry.wanted.tenant, entry.place)
            self._turnover.admitted(entry.wanted.priority)
            self._inside += 1
            entry.state, entry.inside_ns = _INSIDE, now_ns
            self._settled(entry)

    def _first(self) -> Entry:
        queue = next(self._queues[priority] for priority in ORDER if self._queues[priority])
        _, place = queue.first()
        return self._entries[place]

    def _before(self, priority: Priority) -> int:
        """How many wait whom a request of the class must not overtake."""
        critical = len(self._queues[Priority.CRITICAL])
        return critical if priority is Priority.CRITICAL else len(self._entries)

    def _withdraw(self, entry: Entry) -> None:
        del self._entries[entry.place]
        self._queues[entry.wanted.priority].remove(entry.wanted.tenant, entry.place)

    def _give_up(self, entry: Entry, reason: Reason, why: str) -> None:
        self._withdraw(entry)
        entry.state, entry.refusal = State.SHED, self._refusal(entry, reason, why)
        self._settled(entry)

    def _refusal(self, entry: Entry, reason: Reason, why: str) -> Shed:
        priority = entry.wanted.priority
        retry_ms = self._wait_ms(priority, len(self._queues[priority]))
        return Shed(
            f"not admitted: {why}",
            retry_after_s=max(_LEAST_RETRY_S, retry_ms / 1e3),
            details={
                "reason": reason.value,
                "priority": priority.value,
                "waiting": len(self._entries),
                "places": self._places,
            },
        )

    def _wait_ms(self, priority: Priority, same: int) -> float:
        """Predicted wait behind `same` of the class and all of the class above."""
        before = 0 if priority is Priority.CRITICAL else len(self._queues[Priority.CRITICAL])
        return self._turnover.wait_ms(priority, before=before, same=same, places=self._places)
