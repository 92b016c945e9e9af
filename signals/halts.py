"""Which halts are in force: the fold of `hub.control`, and what was told ahead of it.

The log decides. A halt that was only told (NATS is faster than the log) holds for a while, in case the log
is slow; that one has ended is believed from the log alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.halt import EVERYTHING, Halt, HaltScope, halt_key_parts

TOLD_NS: Final = 30 * 10**9
"""How long a halt holds that was told and is not in the log."""

Key = tuple[HaltScope, str]


class Halts:
    """`version` changes whenever a verdict may; `refused` counts records that are no halt."""

    def __init__(self) -> None:
        self.version = 0
        self.refused = 0
        self._logged: dict[Key, Halt] = {}
        self._told: dict[Key, tuple[Halt, int]] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Fold one record of the log; a tombstone ends the halt. One that cannot be read is left out."""
        try:
            named, halt = halt_key_parts(key), _read(key, value)
        except ValueError:
            self.refused += 1
            return
        self.version += 1
        self._told.pop(named, None)
        if halt is None:
            self._logged.pop(named, None)
        else:
            self._logged[named] = halt

    def tell(self, halt: Halt, *, now_ns: int) -> None:
        """A halt that is on its way to the log."""
        self.version += 1
        self._told[halt.scope, halt.id] = halt, now_ns + TOLD_NS

    def forget_told(self, *, now_ns: int) -> None:
        """Drop what was told and never reached the log."""
        for named, (_, until_ns) in tuple(self._told.items()):
            if now_ns >= until_ns:
                del self._told[named]
                self.version += 1

    @property
    def in_force(self) -> Sequence[Halt]:
        """All of them, in the order of their scopes and ids."""
        every = {**{named: halt for named, (halt, _) in self._told.items()}, **self._logged}
        return [every[named] for named in sorted(every)]

    @property
    def personal(self) -> bool:
        """Whether any is of single users or tenants."""
        return any(scope in {HaltScope.USER, HaltScope.TENANT} for scope, _ in (*self._logged, *self._told))

    def of_slot(self, strategy: str, model: str | None) -> Halt | None:
        """The halt that stops all users' signals of a strategy by this model (`name@version`)."""
        return (
            self._find(HaltScope.ALL, EVERYTHING)
            or self._find(HaltScope.STRATEGY, strategy)
            or (self._find(HaltScope.MODEL, model) if model else None)
        )

    def of_user(self, tenant: str, user: str) -> Halt | None:
        """The halt that stops a user's signals."""
        return self._find(HaltScope.TENANT, tenant) or self._find(HaltScope.USER, user)

    def _find(self, scope: HaltScope, halted: str) -> Halt | None:
        logged = self._logged.get((scope, halted))
        if logged is not None or not self._told:
            return logged
        return self._told.get((scope, halted), (None, 0))[0]


def _read(key: bytes, value: bytes | None) -> Halt | None:
    """The halt of a record, None for a tombstone; ValueError if it is none or has another key."""
    if value is None:
        return None
    halt = Halt.from_record(value)
    if halt.key() != key:
        raise ValueError(f"the key was {key!r}, the halt is of {halt.scope} {halt.id}")
    return halt
