"""The judge finds every planted fault in a clean run's logs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
import pytest

from messaging.ports import LogRecord
from tests.simulation.judge import Evidence, judge
from tests.simulation.world import World
from tests.support.virtual_loop import run_virtual

Tamper = Callable[[list[LogRecord]], list[LogRecord]]


@cache
def calm_evidence() -> Evidence:
    """What a run without faults leaves."""
    world = World(0, trouble=False)
    run_virtual(world.run())
    return world.evidence()


def edited(record: LogRecord, **changes: Any) -> LogRecord:
    """The record with another body."""
    body = orjson.loads(record.value or b"")
    return replace(record, value=orjson.dumps({**body, **changes}))


def tampered(tamper: Tamper) -> set[str]:
    """What the judge says when the fullest partition of `user.signals` was tampered with."""
    evidence = calm_evidence()
    partition = max(evidence.signals, key=lambda p: len(evidence.signals[p]))
    signals = {**evidence.signals, partition: tamper(list(evidence.signals[partition]))}
    complaints = judge(replace(evidence, signals=signals)).complaints
    return {complaint.partition(":")[0] for complaint in complaints}


def last_signal(records: Sequence[LogRecord]) -> int:
    """Where the last signal is."""
    return max(index for index, record in enumerate(records) if not record.key.startswith(b"~"))


def drop(records: list[LogRecord]) -> list[LogRecord]:
    """A signal is missing at the end."""
    at = last_signal(records)
    return records[:at] + records[at + 1 :]


def void(records: list[LogRecord]) -> list[LogRecord]:
    """A signal names another claim than the latest."""
    at = last_signal(records)
    return [*records[:at], edited(records[at], epoch=-1), *records[at + 1 :]]


def double(records: list[LogRecord]) -> list[LogRecord]:
    """A delivery comes again under a new sequence number."""
    again = records[last_signal(records)]
    return [*records, edited(again, sequence=orjson.loads(again.value or b"")["sequence"] + 1)]


def swap(records: list[LogRecord]) -> list[LogRecord]:
    """The first and the last slot of a user change places, the sequence stays."""
    last = last_signal(records)
    first = next(index for index, record in enumerate(records) if record.key == records[last].key)
    bodies = [orjson.loads(records[index].value or b"") for index in (first, last)]
    sequences = [body["sequence"] for body in bodies]
    swapped = list(records)
    swapped[first] = edited(records[last], sequence=sequences[0])
    swapped[last] = edited(records[first], sequence=sequences[1])
    return swapped


def skip(records: list[LogRecord]) -> list[LogRecord]:
    """A sequence number is left out."""
    at = last_signal(records)
    body = orjson.loads(records[at].value or b"")
    return [*records[:at], edited(records[at], sequence=body["sequence"] + 1), *records[at + 1 :]]


def misaddress(records: list[LogRecord]) -> list[LogRecord]:
    """A signal stands under another user's key."""
    at = last_signal(records)
    return [*records[:at], replace(records[at], key=b"user-x"), *records[at + 1 :]]


def delay(records: list[LogRecord]) -> list[LogRecord]:
    """A signal landed after it had expired."""
    at = last_signal(records)
    late = replace(records[at], timestamp_ms=records[at].timestamp_ms + 60_000)
    return [*records[:at], late, *records[at + 1 :]]


def invent(records: list[LogRecord]) -> list[LogRecord]:
    """A signal of a slot that nobody owed."""
    last = records[last_signal(records)]
    body = orjson.loads(last.value or b"")
    return [*records, edited(last, sequence=body["sequence"] + 1, bar_close_ms=body["bar_close_ms"] * 2)]


def usurp(records: list[LogRecord]) -> list[LogRecord]:
    """Somebody claims at the end, unasked."""
    claim = next(record for record in records if record.key == b"~claim")
    return [*records, edited(claim, owner="nobody")]


def test_a_clean_run_is_clean() -> None:
    """No false alarm."""
    verdict = judge(calm_evidence())

    assert verdict.complaints == []
    assert verdict.owed > 500


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (drop, "lost"),
        (void, "lost"),
        (double, "doubled"),
        (swap, "swapped"),
        (skip, "gap"),
        (misaddress, "misdelivered"),
        (delay, "lost"),
        (invent, "phantom"),
        (usurp, "usurped"),
    ],
)
def test_a_planted_fault_is_named(tamper: Tamper, complaint: str) -> None:
    """Each kind of broken promise has its word."""
    assert complaint in tampered(tamper)


def test_a_late_signal_that_is_recorded_as_undelivered_is_no_loss() -> None:
    """The reason is in the log."""

    def late_and_recorded(records: list[LogRecord]) -> list[LogRecord]:
        record = delay(records)[last_signal(records)]
        return [*delay(records), replace(record, key=b"~undelivered")]

    assert tampered(late_and_recorded) == set()
