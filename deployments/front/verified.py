"""Tokens that were verified a moment ago, so that a caller's next request need not verify them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from models.principal import Principal

KEPT_S: Final = 60.0
MOST: Final = 4096


class Known(NamedTuple):
    """Whose a token is, when it ends, and which key signed it; good until `until_s` for as long as that is
    still the key of `kid`.
    """

    principal: Principal
    expires_s: float
    kid: str | None
    key: Any
    since_s: float
    until_s: float


class VerifiedTokens:
    """The last `MOST` good tokens, each for `KEPT_S` and never beyond its own end. `clock` is in wall
    seconds; a clock that is set back makes them unknown.

    Only a token that is equal to the last character is found; a forged one is verified, and refused, each
    time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Known] = OrderedDict()

    def find(self, token: str) -> Known | None:
        """What is known of a token, if that was lately."""
        known = self._known.get(token)
        return known if known and known.since_s <= self._clock() < known.until_s else None

    def keep(self, token: str, principal: Principal, *, expires_s: float, kid: str | None, key: Any) -> Known:
        """A token was verified with this key; it expires then."""
        now_s = self._clock()
        known = Known(principal, expires_s, kid, key, now_s, min(now_s + KEPT_S, expires_s))
        self._known[token] = known
        self._known.move_to_end(token)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return known
