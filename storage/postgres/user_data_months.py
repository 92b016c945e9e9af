"""The partitions of user data: one for each type and month, made ahead, dropped when their term is past."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import Date, Text, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.user_event import DataType
from storage.postgres.config import SCHEMA

FIRST_MONTH: Final = date(2020, 1, 1)
_LEAF: Final = re.compile(r"user_data_([a-z0-9_]+)_([0-9]{4})_([0-9]{2})")
_LEAVES: Final = text("SELECT relid::regclass::text FROM pg_partition_tree(:parent) WHERE isleaf")
_FUNCTIONS: Final = getattr(func, SCHEMA)
_ARGUMENTS: Final = (bindparam("kind", type_=Text()), bindparam("month", type_=Date()))
_MAKE: Final = select(_FUNCTIONS.make_user_data_month(*_ARGUMENTS))
_DROP: Final = select(_FUNCTIONS.drop_user_data_month(*_ARGUMENTS))


class Month(NamedTuple):
    """One partition: a type, and the first day of a month of the hub's clock in UTC."""

    data_type: DataType
    first: date

    @property
    def after(self) -> date:
        """The first day of the next month."""
        return next_month(self.first)


def next_month(first: date) -> date:
    """The first day of the month after."""
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


async def make(connection: AsyncConnection, months: Iterable[Month]) -> None:
    """See that the partitions are there."""
    for month in sorted(months):
        await connection.execute(_MAKE, {"kind": month.data_type.value, "month": month.first})


async def drop(connection: AsyncConnection, month: Month) -> None:
    """Remove a partition with all that is in it. The last two months are refused."""
    await connection.execute(_DROP, {"kind": month.data_type.value, "month": month.first})


async def existing(connection: AsyncConnection) -> list[Month]:
    """The partitions there are, the oldest first."""
    names = (await connection.execute(_LEAVES, {"parent": f"{SCHEMA}.user_data"})).scalars()
    found = [match for name in names if (match := _LEAF.search(name))]
    return sorted(
        (Month(DataType(kind), date(int(year), int(month), 1)) for kind, year, month in map(_groups, found)),
        key=lambda one: (one.first, one.data_type),
    )


def _groups(match: re.Match[str]) -> tuple[str, str, str]:
    kind, year, month = match.groups()
    return kind, year, month
