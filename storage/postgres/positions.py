"""Up to where PostgreSQL's log was written, by tenant, so that a replica is asked only for what it has.

Positions in the log (LSN) only grow. They are kept by the process that wrote and, for its siblings, in the
fast store. What both forgot is bounded by `replica.STALENESS_S`, which holds without any memory.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Final

from models.errors import StoreUnavailable
from storage.ports import FastStore, Key

KEPT_S: Final = 60.0
"""A replica that is this far behind is not asked at all, so nobody needs an older position."""
DOUBT_S: Final = 15.0
NOWHERE: Final = 1 << 63
"""A position that no replica reaches: a write is under way or its position unknown."""
EVERYBODY: Final = "~"
"""Not the name of a tenant: the newest write of any of them."""
_LOG: Final = logging.getLogger(__name__)


class Positions:
    """`monotonic` is in seconds. Without a store it knows of this process's own writes alone."""

    def __init__(
        self, store: FastStore | None, monotonic: Callable[[], float], *, capacity: int = 10_000
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._doubts: defaultdict[str, list[float]] = defaultdict(list)

    def doubt(self, tenant_id: str) -> float:
        """The tenant's write is about to be committed: until `wrote`, which takes what this returns, no
        replica has it. A write that is never told is forgotten after DOUBT_S.
        """
        until = self._monotonic() + DOUBT_S
        for name in (tenant_id, EVERYBODY):
            self._forget_expired(name)
            self._doubts[name].append(until)
        return until

    async def wrote(self, tenant_id: str, position: int, doubt: float) -> None:
        """The tenant's write is committed and lies before this position."""
        for name in (tenant_id, EVERYBODY):
            self._settle(name, doubt)
            self._keep(name, position)
        if self._store is None:
            return
        value = str(position).encode()
        entries = [(_key(name), value) for name in (tenant_id, EVERYBODY)]
        try:
            await self._store.put_many(entries, ttl_s=KEPT_S)
        except StoreUnavailable:
            _LOG.warning("other processes may read what %s wrote a moment late: the store is away", tenant_id)

    async def of(self, name: str) -> int:
        """What a replica must have replayed before it is asked for this tenant, or for EVERYBODY; NOWHERE
        while the store is away.
        """
        self._forget_expired(name)
        if name in self._doubts:
            return NOWHERE
        own = self._own(name)
        if self._store is None:
            return own
        try:
            told = await self._store.get(_key(name))
        except StoreUnavailable:
            return NOWHERE
        return max(own, int(told or 0))

    def _own(self, name: str) -> int:
        position, until = self._known.get(name, (0, 0.0))
        return position if self._monotonic() < until else 0

    def _keep(self, name: str, position: int) -> None:
        self._known[name] = (max(position, self._own(name)), self._monotonic() + KEPT_S)
        self._known.move_to_end(name)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def _settle(self, name: str, doubt: float) -> None:
        if doubt in self._doubts[name]:
            self._doubts[name].remove(doubt)
        if not self._doubts[name]:
            del self._doubts[name]

    def _forget_expired(self, name: str) -> None:
        now_s = self._monotonic()
        for expired in [until for until in self._doubts.get(name, ()) if until <= now_s]:
            self._settle(name, expired)


def _key(name: str) -> Key:
    return Key(name, "written", "wal")
