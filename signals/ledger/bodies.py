"""Signals parsed: what all signals of a batch share is parsed once, what is a user's own each time.

A batch's values begin with the same bytes. That is a habit of the writer and not of the contract, so it only
saves time: a value that cannot be cut in two whole JSON objects is parsed in one piece, to the same result.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from signals.ledger.ids import signal_id
from signals.ledger.records import SlotKey, origin_of, slot_of

_CUT: Final = b',"delivery_id":'
_KEPT: Final = 1024


class Shared(NamedTuple):
    """What a signal says about its slot, its prediction and its batch; `origin` as `origin_of` has it."""

    slot: SlotKey
    epoch: Any
    origin: bytes
    source: tuple[int, int]
    expires_ns: int
    clock_error_ns: int
    signal_id: str
    derived: bool
    names: frozenset[str]


class Bodies:
    """Parses the values of one log. ValueError, KeyError or TypeError for what is no signal."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Shared] = {}

    def parse(self, value: bytes) -> tuple[Shared, dict[str, Any]]:
        """The shared part, and an object with the user's own members."""
        cut = value.find(_CUT)
        if cut > 0:
            try:
                shared = self._head(value[:cut])
                own = orjson.loads(b"{" + value[cut + 1 :])
            except (ValueError, KeyError, TypeError):
                return _whole(value)
            if shared.names.isdisjoint(own):
                return shared, own
        return _whole(value)

    def _head(self, head: bytes) -> Shared:
        shared = self._heads.get(head)
        if shared is None:
            if len(self._heads) >= _KEPT:
                self._heads.clear()
            shared = self._heads[head] = _shared(orjson.loads(head + b"}"))
        return shared


def _whole(value: bytes) -> tuple[Shared, dict[str, Any]]:
    body = orjson.loads(value)
    return _shared(body), body


def _shared(body: dict[str, Any]) -> Shared:
    slot = slot_of(body)
    return Shared(
        slot=slot,
        epoch=body["epoch"],
        origin=origin_of(body),
        source=(body["source"]["partition"], body["source"]["offset"]),
        expires_ns=body["expires_ns"],
        clock_error_ns=body["clock_error_ns"],
        signal_id=body["signal_id"],
        derived=body["signal_id"] == signal_id(slot),
        names=frozenset(body),
    )
