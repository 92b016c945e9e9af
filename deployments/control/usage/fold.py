"""What records say was used: reports of processes, and the signals themselves. Decided without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson
from pydantic import ValidationError

from messaging.ports import LogRecord
from models.events import CLAIM_KEY, CONTROL_PREFIX
from models.usage import Measure, UsageKey, UsageReport

FEATURE: Final = "signals"


class Delivered(NamedTuple):
    """Of a signal, what is counted by."""

    tenant_id: str
    user_id: str
    sequence: int
    epoch: int
    tier: str


class ReportFold:
    """Adds up reports. `last` is each source's last report that was counted; one that is not newer came
    again, and counts nothing.
    """

    def __init__(self, last: Mapping[str, int]) -> None:
        self.last = dict(last)
        self.amounts: Counter[UsageKey] = Counter()
        self.outcomes: Counter[str] = Counter()

    def take(self, report: UsageReport | None) -> None:
        """The next one; None for a record that is none."""
        if report is None:
            self.outcomes["unreadable"] += 1
        elif report.sequence <= self.last.get(report.source, 0):
            self.outcomes["repeated"] += 1
        else:
            self.last[report.source] = report.sequence
            self.outcomes["counted"] += 1
            for line in report.lines:
                self.amounts[line.key] += line.amount


class SignalFold:
    """Counts signals that are valid: not void, to the user of their key, and newer than the last counted.

    `claims` is the last claim of each partition, `last` the last sequence of each (tenant, user).
    """

    def __init__(self, claims: Mapping[int, int], last: Mapping[tuple[str, str], int]) -> None:
        self.claims = dict(claims)
        self.last = dict(last)
        self.amounts: Counter[UsageKey] = Counter()
        self.outcomes: Counter[str] = Counter()

    def take(self, record: LogRecord, signal: Delivered | None) -> None:
        """The next record of its partition, read as a signal unless it is none."""
        if record.key == CLAIM_KEY:
            self.claims[record.partition] = record.offset
        elif not record.key.startswith(CONTROL_PREFIX):
            self.outcomes[self._count(record, signal)] += 1

    def _count(self, record: LogRecord, signal: Delivered | None) -> str:
        if signal is None or signal.user_id.encode() != record.key:
            return "unreadable"
        if self.claims[record.partition] > signal.epoch:
            return "void"
        user = signal.tenant_id, signal.user_id
        if signal.sequence <= self.last.get(user, 0):
            return "repeated"
        self.last[user] = signal.sequence
        day = datetime.fromtimestamp(record.timestamp_ms // 1000, UTC).date()
        self.amounts[UsageKey(*user, day, signal.tier, FEATURE, Measure.SIGNALS)] += 1
        return "counted"


def read_report(record: LogRecord) -> UsageReport | None:
    """The report, if it is one, and under the name of its source."""
    try:
        report = UsageReport.from_record(record.value or b"")
    except ValidationError:
        return None
    return report if report.source.encode() == record.key else None


def read_signal(record: LogRecord) -> Delivered | None:
    """What is counted of a signal; a fraction of the cost of reading all of it. None if it is none."""
    try:
        said = orjson.loads(record.value or b"")
        made = Delivered(
            said["tenant_id"], said["user_id"], said["sequence"], said["epoch"], said["risk"]["tier"]
        )
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    kinds = (str, str, int, int, str)
    return made if all(type(one) is kind for one, kind in zip(made, kinds, strict=True)) else None


def users_of(signals: Sequence[Delivered | None]) -> set[tuple[str, str]]:
    """The (tenant, user) that they are for."""
    return {(one.tenant_id, one.user_id) for one in signals if one}
