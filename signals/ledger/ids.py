"""The ids of the published contract, derived a second time (`docs/reading-signals.md`)."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID, uuid5

from signals.ledger.records import SlotKey

_NAMESPACE: Final = UUID("6f1d8a52-63c5-4f43-9a4c-1df1a3c2b7e0")


@lru_cache(maxsize=4096)
def signal_id(slot: SlotKey) -> str:
    """The id of a slot's signal: a UUID of version 5."""
    fields = (slot.strategy, slot.symbol, str(slot.bar_close_ms), str(slot.horizon_ms))
    return str(uuid5(_NAMESPACE, "\x1f".join(fields)))


@lru_cache(maxsize=4096)
def _begun(signal: str) -> blake2b:
    return blake2b(bytes.fromhex(signal.replace("-", "")), digest_size=16)


def delivery_id(signal: str, user: str, account: str) -> str:
    """The id of a signal's delivery to one account: a UUID of version 8."""
    digest = _begun(signal).copy()
    digest.update(f"\x1f{user}\x1f{account}".encode())
    raw = digest.hexdigest()
    variant = "89ab"[int(raw[16], 16) & 3]
    return f"{raw[:8]}-{raw[8:12]}-8{raw[13:16]}-{variant}{raw[17:20]}-{raw[20:]}"
