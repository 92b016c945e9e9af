"""Who may open a socket, and for what: decided before the upgrade, by a verified token and the query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope

from deployments.front.denials import DenialLog
from deployments.front.limits import RateLimiter
from deployments.front.permits import check
from deployments.front.tokens import Tokens, bearer_of, unauthenticated
from deployments.stream.owed import Wish
from models.access import Permission
from models.errors import BadValue, Forbidden
from models.principal import Principal

PROTOCOL: Final = "hub.stream.1"
"""The subprotocol that is agreed on with clients that name any, as browsers do that send their token so."""
_BEARER: Final = "bearer."
_KNOWN: Final = {"since_seq", "account"}
_MOST_SEQ: Final = 2**53
_DIGITS: Final = len(str(_MOST_SEQ))
_ACCOUNT_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller who may come in; `subprotocol` is what is agreed on."""

    wish: Wish
    bearer: str
    subprotocol: str | None


class Entrance:
    """Verifies and counts; raises the error that the caller is answered with."""

    def __init__(
        self, tokens: Tokens, limiter: RateLimiter, denials: DenialLog, clock: Callable[[], int]
    ) -> None:
        self._tokens = tokens
        self._limiter = limiter
        self._denials = denials
        self._clock = clock

    async def admit(self, scope: Scope) -> Admitted:
        """Unauthenticated, Forbidden, RateLimited, or BadValue naming the parameter."""
        offered = scope.get("subprotocols", [])
        bearer = _bearer(Headers(scope=scope), offered)
        principal = (await self._tokens.known(bearer)).principal
        try:
            check(principal, Permission.SIGNALS_OWN)
            if refusal := (await self._limiter.admit(principal)).refusal():
                raise refusal
            self._check_entitled(principal)
        except Forbidden:
            self._denials.note(principal, f"access.{Permission.SIGNALS_OWN}", "the stream")
            raise
        return Admitted(
            _wish(principal, scope["query_string"]), bearer, PROTOCOL if PROTOCOL in offered else None
        )

    def _check_entitled(self, principal: Principal) -> None:
        if self._clock() >= principal.entitled_until_ns:
            raise Forbidden("your entitlement has ended")


def _bearer(headers: Headers, offered: list[str]) -> str:
    """The one token, in the Authorization header or as a subprotocol; not in the address, which is logged."""
    inside = [name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)]
    named = headers.getlist("authorization")
    if not inside:
        return bearer_of(named)
    if named or len(inside) > 1:
        raise unauthenticated()
    return inside[0]


def _wish(principal: Principal, query: bytes) -> Wish:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    given = dict(pairs)
    if len(given) != len(pairs) or not given.keys() <= _KNOWN:
        raise BadValue("the query may name since_seq and account, once each", field="query")
    return Wish(principal, _since_seq(given.get("since_seq")), _account(given.get("account")))


def _since_seq(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text) <= _MOST_SEQ):
        raise BadValue("since_seq was not a number from 0 to 2^53", field="since_seq")
    return int(text)


def _account(text: str | None) -> str | None:
    if text is not None and not 0 < len(text) <= _ACCOUNT_CHARS:
        raise BadValue(f"account had {len(text)} characters, expected 1 to {_ACCOUNT_CHARS}", field="account")
    return text
