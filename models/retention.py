"""How long a record has to be kept, by which rule, and from when it counts: data, and the calendar.

An engineer's reading of the sources it names, not legal advice. A rule says when a record may be deleted at
the earliest; that something keeps it until then, unaltered, is the archive's business and no topic's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Self

import yaml
from pydantic import Field, HttpUrl, model_validator

from models.base import Frozen
from models.errors import ConfigError


class ClockStart(StrEnum):
    """From when a period counts."""

    CREATION = "creation"
    ORDER_SUBMISSION = "order_submission"
    ACCOUNT_CLOSURE = "account_closure"
    YEAR_END = "year_end"


class Storage(StrEnum):
    """What the rule asks of the store, beside keeping the record."""

    WORM_OR_AUDIT_TRAIL = "worm_or_audit_trail"
    NOT_ALTERABLE = "not_alterable"
    NONE = "none"


class Extension(StrEnum):
    """What may make the period longer."""

    AUTHORITY_REQUEST = "authority_request"
    LEGAL_HOLD = "legal_hold"


class RetentionRule(Frozen):
    """One rule for records of some topics. `years` are calendar years; `source` and `url` are where it is
    written, None for a tenant's own policy; `reviewed` is when somebody last read it.
    """

    rule: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    jurisdiction: str
    record_class: str
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    years: Annotated[int, Field(gt=0, le=30)]
    starts: ClockStart
    storage: Storage
    extensions: tuple[Extension, ...] = ()
    source: str | None
    url: HttpUrl | None = None
    note: str = ""
    reviewed: date

    def delete_from(self, event: date, *, holds: Sequence[date] = ()) -> date:
        """The first day on which a record may be deleted. `event` is what the clock starts with; `holds` are
        days until which an authority or a court has asked to keep it, and are heeded if the rule knows any.
        """
        begun = date(event.year + 1, 1, 1) if self.starts is ClockStart.YEAR_END else event
        due = years_later(begun, self.years)
        return max(due, *holds) if holds and self.extensions else due

    def expired_on(self, today: date, *, holds: Sequence[date] = ()) -> date | None:
        """The last day of which a record may be deleted today; None while something is to be kept longer."""
        if self.extensions and any(hold > today for hold in holds):
            return None
        day = date(today.year - self.years, 12, 31)
        while self.delete_from(day) > today:
            day -= timedelta(days=1)
        return day


class RetentionPolicy(Frozen):
    """`config/retention.yaml`. `profile` names the rules that hold; of several for a topic the longest."""

    profile: Annotated[tuple[str, ...], Field(min_length=1)]
    rules: tuple[RetentionRule, ...]

    @model_validator(mode="after")
    def _profile_is_known(self) -> Self:
        names = [rule.rule for rule in self.rules]
        if len(names) != len(set(names)):
            raise ValueError("two rules have the same name")
        if unknown := set(self.profile) - set(names):
            raise ValueError(f"profile names unknown rules: {', '.join(sorted(unknown))}")
        return self

    def rule_for(self, topic: str) -> RetentionRule | None:
        """The rule that decides for a topic; None if its hot copy is all that is kept."""
        holding = [rule for rule in self.rules if rule.rule in self.profile and topic in rule.topics]
        return max(holding, key=lambda rule: rule.years, default=None)


def years_later(begun: date, years: int) -> date:
    """The same day so many calendar years later; 1 March for a 29 February that the year does not have."""
    try:
        return begun.replace(year=begun.year + years)
    except ValueError:
        return date(begun.year + years, 3, 1)


def load_retention(text: str) -> RetentionPolicy:
    """Parse `config/retention.yaml`; ConfigError names what is wrong."""
    try:
        return RetentionPolicy.model_validate(yaml.safe_load(text))
    except ValueError as error:
        raise ConfigError(f"retention policy: {error}", field="retention") from error
