"""When each user's signals came, read back from the log after a run, by the rule of claims alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from messaging.ports import EventBus, LogRecord
from messaging.topics import SIGNALS

ROUND_TRIP_MS = 250
"""As much as an append gets that left just before its signals expired (`deployments.fanout.partition`)."""


class Arrival(NamedTuple):
    """A signal of a user: which bar's, when it was made and the log had it, whether it holds a forecast, and
    whether it asks for anything.
    """

    user: str
    series: str
    close_ms: int
    logged_ms: int
    expires_ms: int
    tick_ms: int
    answered: bool
    projected_ns: int = 0
    asks: bool = False


@dataclass(frozen=True)
class Timeline:
    """The first valid signal of each user and slot. `due_ms` says when a slot's bar closed, in wall time."""

    arrivals: Sequence[Arrival]
    users: Sequence[str]
    due_ms: Callable[[int], int]
    ttl_ms: int

    @property
    def in_time(self) -> list[Arrival]:
        """Those that a reader could still act on, whoever was late."""
        return [one for one in self.arrivals if one.logged_ms < self.due_ms(one.close_ms) + self.ttl_ms]

    @property
    def stale(self) -> int:
        """How many the log had only after they had expired, beyond the round trip that one gets which leaves
        just before: then the reader's check is all that is left.
        """
        return sum(one.logged_ms > one.expires_ms + ROUND_TRIP_MS for one in self.arrivals)

    def longest_silence_s(self) -> float:
        """The longest that any user was without a signal, between the first and the last slot."""
        times = self._times(self.in_time)
        gaps = [later - one for user in self.users for one, later in pairwise(times[user])]
        return max(gaps, default=0) / 1000

    def recovery_s(self, since_ns: int) -> float:
        """Seconds from a moment until every user has had a signal in time for a bar that closed after it;
        infinite if one never had.
        """
        since_ms = since_ns // 1_000_000
        times = self._times(one for one in self.in_time if self.due_ms(one.close_ms) >= since_ms)
        if any(not times[user] for user in self.users):
            return float("inf")
        return max(times[user][0] - since_ms for user in self.users) / 1000

    def between(self, from_ns: int, to_ns: int) -> Timeline:
        """The same of the bars that closed then."""
        from_ms, to_ms = from_ns // 1_000_000, to_ns // 1_000_000
        there = [one for one in self.arrivals if from_ms <= self.due_ms(one.close_ms) < to_ms]
        return replace(self, arrivals=there)

    @staticmethod
    def _times(arrivals: Iterable[Arrival]) -> dict[str, list[int]]:
        times: dict[str, list[int]] = defaultdict(list)
        for one in arrivals:
            times[one.user].append(one.logged_ms)
        return defaultdict(list, {user: sorted(found) for user, found in times.items()})


def schedule(found: Sequence[Arrival], *, speed: float) -> Callable[[int], int]:
    """When bars closed in wall time, from the clock messages that closed them: none is sent too early, so
    the promptest tells the schedule.
    """
    began_ms = min(one.tick_ms - one.close_ms / speed for one in found if one.tick_ms)
    return lambda close_ms: int(began_ms + close_ms / speed)


async def arrivals(bus: EventBus) -> list[Arrival]:
    """All first valid signals of `user.signals`."""
    found: dict[tuple[str, str, int], Arrival] = {}
    for partition in range(SIGNALS.partitions):
        first, end = await bus.bounds(SIGNALS.name, partition)
        records = [
            record async for batch in bus.read(SIGNALS.name, partition, first, end) for record in batch
        ]
        for one in _valid(records):
            found.setdefault((one.user, one.series, one.close_ms), one)
    return list(found.values())


def _valid(records: Sequence[LogRecord]) -> Iterable[Arrival]:
    claim = None
    for record in records:
        if record.key == b"~claim":
            claim = record.offset
        elif not record.key.startswith(b"~"):
            body: dict[str, Any] = orjson.loads(record.value or b"{}")
            if body["epoch"] == claim:
                series = f"{body['strategy']} {body['symbol']}"
                yield Arrival(
                    user=body["user_id"],
                    series=series,
                    close_ms=body["bar_close_ms"],
                    logged_ms=record.timestamp_ms,
                    expires_ms=body["expires_ns"] // 1_000_000,
                    tick_ms=body["stages"].get("tick", 0) // 1_000_000,
                    answered=body.get("forecast") is not None,
                    projected_ns=body["projected_ns"],
                    asks=body["kind"] != "abstain",
                )
