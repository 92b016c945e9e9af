"""Kinds of values: what is one, and how much it allows where a layer may only lower what it inherits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from deployments.front.limits import rates_of
from storage.ports import Rate

LONGEST_TEXT: Final = 500
EVERYBODY: Final = 100.0
"""Per cent of the users: a flag that is simply on."""

_MOST_RATES: Final = 4
_LONGEST_RATE: Final = 100
_MOST_CALLS: Final = 10**9
_HOST: Final = re.compile(r"(?!-)([a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.IGNORECASE)


class Kind(StrEnum):
    """What a setting holds."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    CHOICE = "choice"
    LIST = "list of text"
    RATE = "rate"
    URL = "https address"
    FLAG = "flag"

    @property
    def is_text(self) -> bool:
        """Whether its values are texts, also those that look like numbers."""
        return self in {Kind.TEXT, Kind.CHOICE, Kind.RATE, Kind.URL}


class Bounds(Protocol):
    """Of a number its range, of a text its length, of a list how many items it has."""

    @property
    def minimum(self) -> float: ...

    @property
    def maximum(self) -> float: ...

    @property
    def choices(self) -> tuple[str, ...]: ...

    @property
    def pattern(self) -> str | None: ...


def expected(kind: Kind, bounds: Bounds) -> str:
    """What a value of this kind looks like, in words."""
    span = f"from {bounds.minimum:g} to {bounds.maximum:g}"
    return {
        Kind.BOOLEAN: "true or false",
        Kind.INTEGER: f"a whole number {span}",
        Kind.NUMBER: f"a number {span}",
        Kind.TEXT: f"{_shape(bounds)} of {bounds.minimum:g} to {bounds.maximum:g} printable characters",
        Kind.CHOICE: f"one of {', '.join(bounds.choices)}",
        Kind.LIST: f"a list of at most {bounds.maximum:g} different texts, each {_shape(bounds)}",
        Kind.RATE: "calls over time such as `100/minute; 1000/hour`, at most four",
        Kind.URL: "https://host.name/..., a name and no address, without a password",
        Kind.FLAG: 'true, false, or {"percent": 0 to 100} of the users',
    }[kind]


def accepts(kind: Kind, bounds: Bounds, value: Any) -> bool:
    """Whether this is a value of the kind, within the bounds. Never coerces."""
    return _ACCEPTS[kind](value, bounds)


def exceeds(kind: Kind, value: Any, limit: Any) -> bool:
    """Whether the value allows anything that the limit does not. No limit is exceeded by nothing.

    Of two rates, each counted as a bucket of `amount` that refills over its period (GCRA), one stays within
    the other at all times exactly if neither its burst nor its lasting rate is higher.
    """
    if limit is None:
        return False
    if kind is Kind.RATE:
        return not all(any(_within(one, cap) for one in rates(value)) for cap in rates(limit))
    if kind is Kind.FLAG:
        return percent(value) > percent(limit)
    return bool(value > limit)


def percent(flag: bool | Mapping[str, float]) -> float:  # noqa: FBT001 - a flag is what this is about
    """To how many per cent of the users a flag says yes."""
    if isinstance(flag, bool):
        return EVERYBODY if flag else 0.0
    return float(flag["percent"])


@lru_cache(maxsize=1024)
def rates(text: str) -> tuple[Rate, ...]:
    """The rates of a text; ValueError if it is none."""
    found = rates_of(text)
    if len(found) > _MOST_RATES or not all(0 < rate.amount <= _MOST_CALLS for rate in found):
        raise ValueError(f"at most {_MOST_RATES} rates of 1 to {_MOST_CALLS:,} calls")
    return found


def _within(one: Rate, cap: Rate) -> bool:
    return one.amount <= cap.amount and one.amount * cap.period_s <= cap.amount * one.period_s


def _shape(bounds: Bounds) -> str:
    return f"text like {bounds.pattern}" if bounds.pattern else "text"


def _is_integer(value: Any, bounds: Bounds) -> bool:
    return type(value) is int and bounds.minimum <= value <= bounds.maximum


def _is_number(value: Any, bounds: Bounds) -> bool:
    number = type(value) is int or (type(value) is float and math.isfinite(value))
    return number and bounds.minimum <= value <= bounds.maximum


def _is_text(value: Any, bounds: Bounds) -> bool:
    """Printable, so that it holds nothing that PostgreSQL or JSON cannot carry."""
    fits = isinstance(value, str) and bounds.minimum <= len(value) <= bounds.maximum and value.isprintable()
    return fits and (bounds.pattern is None or re.fullmatch(bounds.pattern, value) is not None)


def _is_list(value: Any, bounds: Bounds) -> bool:
    if not isinstance(value, list) or len(value) > bounds.maximum:
        return False
    texts = all(isinstance(item, str) and re.fullmatch(bounds.pattern or ".*", item) for item in value)
    return texts and len(set(value)) == len(value)


def _is_rate(value: Any, _: Bounds) -> bool:
    if not (isinstance(value, str) and value.isascii() and len(value) <= _LONGEST_RATE):
        return False
    try:
        return bool(rates(value))
    except ValueError:
        return False


def _is_url(value: Any, _: Bounds) -> bool:
    """A name and no address: what a name stands for is checked by whoever connects, and each time."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        named = parts.scheme == "https" and _HOST.fullmatch(parts.hostname or "") is not None
        return named and len(value) <= LONGEST_TEXT and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False


def _is_flag(value: Any, _: Bounds) -> bool:
    if isinstance(value, bool):
        return True
    share = value.get("percent") if isinstance(value, dict) and len(value) == 1 else None
    return isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= EVERYBODY


_ACCEPTS: Final[Mapping[Kind, Callable[[Any, Bounds], bool]]] = {
    Kind.BOOLEAN: lambda value, _: isinstance(value, bool),
    Kind.INTEGER: _is_integer,
    Kind.NUMBER: _is_number,
    Kind.TEXT: _is_text,
    Kind.CHOICE: lambda value, bounds: isinstance(value, str) and value in bounds.choices,
    Kind.LIST: _is_list,
    Kind.RATE: _is_rate,
    Kind.URL: _is_url,
    Kind.FLAG: _is_flag,
}
