"""What tenants use: what processes report of it, what is made of that, and what is said at a limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from models.base import Frozen

LEVELS: Final = (80, 95)
"""Shares of a limit, in percent, at which a tenant is told that it nears."""


class Measure(StrEnum):
    """What is metered. `inferences` are answered calls for a forecast, `sockets` those that were opened, and
    `storage_bytes` the most that was stored on a day: the one that is not a sum.
    """

    CALLS = "calls"
    INFERENCES = "inferences"
    SIGNALS = "signals"
    SOCKETS = "sockets"
    SOCKET_SECONDS = "socket_seconds"
    STORAGE_BYTES = "storage_bytes"


class UsageKey(NamedTuple):
    """What amounts are added up by. `day` is in UTC, `user_id` empty for what is the tenant's alone."""

    tenant_id: str
    user_id: str
    day: date
    tier: str
    feature: str
    measure: Measure


class UsageLine(Frozen):
    """An amount that was used."""

    tenant_id: str
    user_id: str
    day: date
    tier: str
    feature: str
    measure: Measure
    amount: Annotated[int, Field(gt=0, lt=2**53)]

    @property
    def key(self) -> UsageKey:
        return UsageKey(self.tenant_id, self.user_id, self.day, self.tier, self.feature, self.measure)


class UsageReport(Frozen):
    """What one process counted since its last report; value of `hub.usage` under `source`.

    `source` is one start of one process, and `sequence` grows by one with each of its reports: a report that
    comes again counts once.
    """

    schema_: Literal["hub.usage/1"] = Field("hub.usage/1", alias="schema")
    source: Annotated[str, Field(min_length=1, max_length=128)]
    sequence: Annotated[int, Field(gt=0, lt=2**53)]
    lines: Annotated[tuple[UsageLine, ...], Field(min_length=1, max_length=2000)]


class Violation(StrEnum):
    """How a subscription was not kept."""

    LIMIT_EXCEEDED = "limit_exceeded"
    ENTITLEMENT_ENDED = "entitlement_ended"


class TenantLimitApproaching(Frozen):
    """A tenant has used `level` percent of what its tier allows in a month. Once a month for each level."""

    schema_: Literal["hub.tenant-limit-approaching/1"] = Field(
        "hub.tenant-limit-approaching/1", alias="schema"
    )
    event_id: str
    tenant_id: str
    month: str
    measure: Measure
    level: int
    used: int
    allowed: int
    at_ns: int


class SubscriptionViolation(Frozen):
    """A tenant went beyond what it pays for. Once per month, measure and violation.

    Of an entitlement that ended, `used` is what was used that day and `allowed` is 0.
    """

    schema_: Literal["hub.subscription-violation/1"] = Field("hub.subscription-violation/1", alias="schema")
    event_id: str
    tenant_id: str
    month: str
    measure: Measure
    violation: Violation
    used: int
    allowed: int
    at_ns: int


class UsageTotal(Frozen):
    """An amount by whatever was asked for: a user, a day, a feature, a tier."""

    by: str
    measure: Measure
    amount: int


class UsageRow(Frozen):
    """A line of the monthly export: what a bill is made of."""

    day: date
    user_id: str
    tier: str
    feature: str
    measure: Measure
    amount: int


def month_of(day: date) -> str:
    """`2026-11`."""
    return f"{day:%Y-%m}"


def days_of(month: str) -> tuple[date, date]:
    """The first day of a month as `2026-11`, and of the next one; ValueError for what is none."""
    year, _, number = month.partition("-")
    if not (len(year) == 4 and len(number) == 2 and month.replace("-", "", 1).isascii()):
        raise ValueError("a month is written as 2026-11")
    first = date(int(year), int(number), 1)
    return first, date(first.year + first.month // 12, first.month % 12 + 1, 1)


def crossed(used: int, allowed: int, levels: Sequence[int] = LEVELS) -> list[int]:
    """The levels that are reached; the last one is 100 and means that the limit is exceeded."""
    reached = [level for level in levels if used * 100 >= allowed * level]
    return [*reached, 100] if used > allowed else reached
