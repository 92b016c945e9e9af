"""JSON payloads of ticks, the clock and bars. Whoever publishes, what is wrong is refused here."""

from __future__ import annotations

import math
from typing import Final, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from models.errors import BadValue
from models.market import Bar, MarketClock, Tick

_T = TypeVar("_T", Tick, MarketClock, Bar)
_TICK: Final = TypeAdapter(Tick)
_CLOCK: Final = TypeAdapter(MarketClock)
_BAR: Final = TypeAdapter(Bar)


def encode(item: Tick | MarketClock | Bar) -> bytes:
    """The payload: a JSON object with the fields of the type."""
    return orjson.dumps(item)


def decode_tick(payload: bytes, *, symbol: str) -> Tick:
    """A tick of the symbol; unknown fields are ignored. Raises BadValue for what cannot be one."""
    tick = _parsed(_TICK, payload, "tick")
    if tick.symbol != symbol:
        raise BadValue(f"symbol was {tick.symbol!r}, expected {symbol} on this subject", field="symbol")
    if not 0 < tick.bid <= tick.ask < math.inf:
        raise BadValue(f"bid and ask were {tick.bid} and {tick.ask}; expected 0 < bid <= ask", field="bid")
    if tick.seq < 1:
        raise BadValue(f"seq was {tick.seq}; ticks of a symbol are counted from 1", field="seq")
    return tick


def decode_clock(payload: bytes) -> MarketClock:
    """The market clock; unknown fields are ignored."""
    return _parsed(_CLOCK, payload, "clock")


def decode_bar(payload: bytes) -> Bar:
    """A bar as the hub wrote it."""
    return _parsed(_BAR, payload, "bar")


def _parsed(adapter: TypeAdapter[_T], payload: bytes, what: str) -> _T:
    try:
        return adapter.validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or what
        raise BadValue(f"{what} payload: {field}: {first['msg']}", field=field) from error
