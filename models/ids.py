"""Deterministic ids, and random ones from a passed-in source.

A signal's identity is its slot, not its model, so that a retry, a hedge or a smaller model cannot make a
second signal. A delivery's identity is one effect on one account.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from random import Random
from typing import Final
from uuid import UUID, uuid5

from models.errors import BadValue

NAMESPACE: Final = UUID("6f1d8a52-63c5-4f43-9a4c-1df1a3c2b7e0")
_SEPARATOR: Final = "\x1f"
USER_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"
_USER_ID: Final = re.compile(USER_ID_PATTERN)
_SYMBOL: Final = re.compile(r"^[A-Z0-9]{3,20}$")


def signal_id(*, strategy: str, symbol: str, bar_close_ms: int, horizon_ms: int) -> UUID:
    """uuid5 of the slot; `strategy` is `name@version`."""
    return uuid5(NAMESPACE, _SEPARATOR.join((strategy, symbol, str(bar_close_ms), str(horizon_ms))))


def delivery_prefix(signal: UUID) -> blake2b:
    """The shared part of `delivery_id`, hashed once per signal and copied per user."""
    return blake2b(signal.bytes, digest_size=16)


def delivery_id(prefix: blake2b, *, user_id: str, account_id: str) -> UUID:
    """UUIDv8 of (signal, user, account); costs half a microsecond against 13 of uuid5."""
    digest = prefix.copy()
    digest.update(f"{_SEPARATOR}{user_id}{_SEPARATOR}{account_id}".encode())
    return uuid8(digest.digest())


def uuid8(raw: bytes) -> UUID:
    """A UUID of version 8 (RFC 9562) from 16 bytes."""
    number = int.from_bytes(raw, "big")
    number = number & ~(0xF << 76) | (0x8 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=number)


def random_id(rng: Random) -> str:
    """A random 128-bit id as 32 hex digits, from the caller's source of randomness."""
    return f"{rng.getrandbits(128):032x}"


def traceparent(rng: Random) -> str:
    """A fresh sampled W3C trace context."""
    return f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-01"


def checked_user_id(value: str) -> str:
    """The id itself; BadValue unless it is 1-64 letters, digits or `._:-` and starts with a letter or digit.

    `~` cannot occur, so a user can never collide with the control keys of a partition.
    """
    if not _USER_ID.match(value):
        raise BadValue(
            f"user_id was {value!r}; expected 1-64 of [A-Za-z0-9._:-], first a letter or digit",
            field="user_id",
        )
    return value


def checked_symbol(value: str) -> str:
    """The canonical symbol itself (`EURUSD`); BadValue for a broker's spelling such as `EURUSD.pro`."""
    if not _SYMBOL.match(value):
        raise BadValue(f"symbol was {value!r}; expected 3-20 of [A-Z0-9], for example EURUSD", field="symbol")
    return value
