"""The arithmetic behind the figures of a fault: a wrong one would hide what it cost."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.scene.outcome import Seen
from tests.support.scene.timeline import Arrival, Timeline, schedule

TTL_MS = 4000
NS = 1_000_000


def arrival(close_ms: int, logged_ms: int, *, user: str = "u", tick_ms: int = 0) -> Arrival:
    """A signal for the bar that closed at so many milliseconds of wall time."""
    return Arrival(user, "alpha", close_ms, logged_ms, close_ms + TTL_MS, tick_ms, answered=True)


def timeline(*arrivals: Arrival, users: tuple[str, ...] = ("u",)) -> Timeline:
    """One second of the market is one of the wall."""
    return Timeline(arrivals, users, lambda close_ms: close_ms, TTL_MS)


def test_late_and_stale_signals_are_not_in_time() -> None:
    """Whoever was late: the feeder's schedule and the record's own expiry both count. Stale is what came more
    than a round trip after its expiry.
    """
    late, stale = arrival(1500, 5600), arrival(2000, 6600)
    seen = timeline(arrival(0, 100), arrival(500, 4499), arrival(1000, 5000), late, stale)

    assert [one.close_ms for one in seen.in_time] == [0, 500]
    assert seen.stale == 1


def test_the_longest_silence_is_that_of_the_worst_user() -> None:
    """Late signals do not break a silence."""
    seen = timeline(
        arrival(0, 10),
        arrival(500, 510),
        arrival(0, 10, user="v"),
        arrival(500, 4600, user="v"),
        arrival(3000, 3010, user="v"),
        users=("u", "v"),
    )

    assert seen.longest_silence_s() == pytest.approx(3.0)


def test_recovery_waits_for_every_user_and_for_new_bars() -> None:
    """A signal for a bar of before the end of the fault is none of the recovery; nobody may be missing."""
    everybody = [arrival(500, 1200), arrival(1500, 1600), arrival(1500, 2400, user="v")]

    assert timeline(*everybody, users=("u", "v")).recovery_s(1000 * NS) == pytest.approx(1.4)
    assert timeline(*everybody[:2], users=("u", "v")).recovery_s(1000 * NS) == math.inf


def test_the_promptest_clock_message_tells_the_schedule() -> None:
    """One that was held up shifts nothing."""
    found = [arrival(10_000, 0, tick_ms=1_500), arrival(20_000, 0, tick_ms=2_900)]

    assert schedule(found, speed=10.0)(20_000) == 2_500


def _line(at: int, *metrics: tuple[str, dict[str, str], float], ready: bool, down_s: float) -> dict[str, Any]:
    return {"at_ns": at, "ready": ready, "down_s": down_s, "metrics": metrics}


def test_an_operator_sees_trouble_and_nothing_else() -> None:
    """What is as it should be is left out, as is the time before a worker was ready for the first time."""
    appends = ("hub_append_total", {"topic": "t", "outcome": "unknown"}, 3.0)
    fine = ("hub_append_total", {"topic": "t", "outcome": "ok"}, 90.0)
    owned = ("hub_owned_partitions", {"topic": "t"}, 24.0)
    told = [
        _line(1, ready=False, down_s=9.0),
        _line(2, ready=True, down_s=0.0),
        _line(3, appends, fine, owned, ready=False, down_s=2.5),
    ]
    seen = Seen.of([told, [], told[:2]], ["WARNING nats gone\nERROR x y\nTraceback\nWARNING nats back\n"])

    assert seen.signs == {"hub_append_total{unknown}": 3}
    assert seen.down_s == pytest.approx(2.5)
    assert seen.warnings == ("WARNING nats (2 times)", "ERROR x (1 times)")
