"""Keeps the partitions of user data: makes those to come, and drops those that no rule keeps any more.

How long a type is kept is said by `config/retention.yaml`. Of several rules the last to end decides; a rule
that counts from the closure of an account never ends by itself, because nobody here knows when that was. A
type that no rule names is kept for `UNRULED_YEARS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final, NamedTuple, NoReturn

from sqlalchemy.exc import DBAPIError

from models.errors import HubError
from models.retention import ClockStart, RetentionPolicy, RetentionRule, years_later
from models.user_event import EVENT_KINDS, DataType
from storage.postgres import user_data, user_data_intake, user_data_months
from storage.postgres.database import Database
from storage.postgres.user_data_months import Month, next_month

_LOG: Final = logging.getLogger("ray.serve")
UNRULED_YEARS: Final = 1
_EVERY_S: Final = 3_600.0
_RECENTLY_NS: Final = 2 * 86_400 * 10**9


class Term(NamedTuple):
    """Until when something must be kept: `until` None is for ever; `rule` None is no rule's but the hub's."""

    until: date | None
    rule: str | None


def rules_for(policy: RetentionPolicy, data_type: DataType) -> list[RetentionRule]:
    """The rules that hold for a type."""
    topic = EVENT_KINDS[data_type].topic
    return [rule for rule in policy.rules if rule.rule in policy.profile and topic in rule.topics]


def term_of(policy: RetentionPolicy, data_type: DataType, event: date) -> Term:
    """How long an event of this day must be kept: the first day on which it may be deleted."""
    terms = [
        Term(None if rule.starts is ClockStart.ACCOUNT_CLOSURE else rule.delete_from(event), rule.rule)
        for rule in rules_for(policy, data_type)
    ]
    unruled = Term(years_later(event, UNRULED_YEARS), None)
    return max(terms, key=lambda term: term.until or date.max, default=unruled)


class UserDataUpkeep:
    """`run` as a task. Without a policy nothing is ever dropped. `clock` is wall time in ns."""

    def __init__(
        self, database: Database, policy: RetentionPolicy | None, *, clock: Callable[[], int], rng: Random
    ) -> None:
        self._database = database
        self._policy = policy
        self._clock = clock
        self._rng = rng

    async def run(self) -> NoReturn:
        """Keep them, about once an hour."""
        while True:
            try:
                await self.once()
            except (HubError, DBAPIError) as error:
                _LOG.warning("the partitions of user data were not kept: %s", error)
            await asyncio.sleep(_EVERY_S * (0.5 + self._rng.random()))

    async def once(self) -> list[Month]:
        """Make this month and the next, drop what is past its term, and return what was dropped."""
        month = user_data_intake.month_of(self._clock())
        ahead = [Month(kind, first) for kind in DataType for first in (month, next_month(month))]
        async with self._database.platform() as connection:
            await user_data_months.make(connection, ahead)
            months = await user_data_months.existing(connection)
        expired = [one for one in months if self._expired(one)]
        for one in expired:
            async with self._database.platform() as connection:
                await user_data_months.drop(connection, one)
            _LOG.info("user data of %s from %s is past its term and was dropped", one.data_type, one.first)
        await self._erase_deleted()
        return expired

    def _expired(self, month: Month) -> bool:
        """Whether even the last event of the month may go."""
        if self._policy is None:
            return False
        today = datetime.fromtimestamp(self._clock() // 10**9, UTC).date()
        term = term_of(self._policy, month.data_type, month.after - timedelta(days=1))
        return term.until is not None and term.until <= today

    async def _erase_deleted(self) -> None:
        """Events that were being written while their tenant was deleted."""
        async with self._database.platform() as connection:
            gone = await user_data_intake.deleted_since(connection, self._clock() - _RECENTLY_NS)
        for tenant_id in gone:
            async with self._database.tenant(tenant_id) as connection:
                await user_data.erase_tenant(connection, tenant_id)
