"""A library for any service that acts on users' signals: `SignalReader`, and stores for its effects.

The room needs no Ray. What it promises: every valid signal of the users it reads takes effect once, in order
and before its expiry, or is put down as expired once; across crashes, rebalances and two readers that both
believe to own a partition. That rests on the store alone: an effect and the place in the log it came from are
one transaction (`EffectStore.apply`). `docs/reading-signals.md` has the rules for readers in any language.
"""

from __future__ import annotations

from deployments.reader.config import ReaderConfig, Start
from deployments.reader.memory_store import MemoryEffects
from deployments.reader.ports import (
    Act,
    Effect,
    EffectStore,
    Gap,
    GapKind,
    Outcome,
    Service,
    Settled,
    SlotState,
)
from deployments.reader.reader import SignalReader
from deployments.reader.sqlite_store import SqliteEffects

__all__ = [
    "Act",
    "Effect",
    "EffectStore",
    "Gap",
    "GapKind",
    "MemoryEffects",
    "Outcome",
    "ReaderConfig",
    "Service",
    "Settled",
    "SignalReader",
    "SlotState",
    "SqliteEffects",
    "Start",
]
