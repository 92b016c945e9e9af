"""Everything that changes a load table, as values: what is written down so that a decision can be made again.

A load table's beliefs follow from its changes in their order, and from nothing else: whoever takes a table
through the same changes (`routing.recordings.replay.apply`) holds the same beliefs, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from models.forecast import LoadReport
from routing.beliefs.outcome import Outcome
from routing.beliefs.placement import ReplicaMeta


@dataclass(frozen=True, slots=True)
class ReplicasUpdated:
    """A pool consists of exactly these replicas now."""

    pool: str
    replicas: tuple[tuple[str, ReplicaMeta], ...]
    now_ns: int
    kind: Literal["replicas"] = "replicas"


@dataclass(frozen=True, slots=True)
class Sent:
    """A call left for a replica. `flight` is the table's number of it, `model` is `name@version`."""

    flight: int
    replica: str
    model: str
    rows: int
    expected_ms: float
    quantile_ms: float
    budget_ms: float
    now_ns: int
    kind: Literal["sent"] = "sent"


@dataclass(frozen=True, slots=True)
class Finished:
    """A call ended; `elapsed_ms` is the caller's own time. Repeats what the call was, for it may have begun
    before anybody listened.
    """

    flight: int
    replica: str
    model: str
    size: int
    depth: int
    expected_ms: float
    budget_ms: float
    outcome: Outcome
    elapsed_ms: float
    now_ns: int
    report: LoadReport | None = None
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A replica is listed, but does not answer."""

    replica: str
    now_ns: int
    kind: Literal["unreachable"] = "unreachable"


@dataclass(frozen=True, slots=True)
class Looked:
    """Somebody took a snapshot at a later step than the last: standings were brought up to it."""

    now_ns: int
    kind: Literal["looked"] = "looked"


Change = ReplicasUpdated | Sent | Finished | Unreachable | Looked
Listener = Callable[[Change], None]
"""Is told of every change, in order, under the table's lock: it must be quick and must not raise."""
