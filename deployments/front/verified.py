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
    still the key of `kid`. `issued_us` is None where the token does not say; `of_hub` says that the hub
    issued it, and so that the roles of the user are the hub's to change.
    """

    principal: Principal
    expires_s: float
    kid: str | None
    key: Any
    since_s: float
    until_s: float
    issued_us: int | None = None
    of_hub: bool = False


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

    def keep(
        self,
        token: str,
        principal: Principal,
        *,
        expires_s: float,
        kid: str | None,
        key: Any,
        issued_us: int | None = None,
        of_hub: bool = False,
    ) -> Known:
        """A token was verified with this key; it expires then."""
        now_s = self._clock()
        until_s = min(now_s + KEPT_S, expires_s)
        known = Known(principal, expires_s, kid, key, now_s, until_s, issued_us, of_hub)
        self._known[token] = known
        self._known.move_to_end(token)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return known
