"""What the principals may do as NATS permissions, and the accounts of the server's configuration.

A JetStream request is a publish on `$JS.API`, and its answer comes to the inbox of who asked, so both are
among the permissions. The hub's consumers acknowledge nothing: nobody may publish on `$JS.ACK`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from messaging.principals import PRINCIPALS, Access, MarketAccess
from messaging.subjects import BARS_STREAM, TICKS_STREAM

ACCOUNT: Final = "HUB"


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that may be published and subscribed to; everything else is denied."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_of(user: str) -> str:
    """The beginning of a user's inboxes: its own, so that nobody hears the answers to another's requests."""
    return f"_INBOX_{user}"


def permissions_of(access: Access) -> Permissions | None:
    """The permissions of one principal; None for one that has no business on NATS."""
    market = access.market
    if market is None:
        return None
    return Permissions(
        publish=(*market.publishes, *_requests(market)),
        subscribe=(*market.hears, f"{inbox_of(access.principal)}.>"),
    )


def password_variable(access: Access) -> str:
    """The environment variable from which the printed configuration takes a principal's password."""
    return f"{access.principal.upper().replace('-', '_')}_NATS_PASSWORD"


def accounts() -> str:
    """The `accounts` block of the server's configuration: one account, a user per principal."""
    users = "\n".join(f"      {user}" for user in _users())
    return f"accounts {{\n  {ACCOUNT} {{\n    jetstream: enabled\n    users: [\n{users}\n    ]\n  }}\n}}\n"


def _users() -> Iterator[str]:
    for access in PRINCIPALS:
        if permissions := permissions_of(access):
            allowed = f"publish: {_only(permissions.publish)}, subscribe: {_only(permissions.subscribe)}"
            login = f"user: {json.dumps(access.principal)}, password: ${password_variable(access)}"
            yield f"{{{login}, permissions: {{{allowed}}}}}"


def _only(subjects: tuple[str, ...]) -> str:
    """These subjects and no others; to the server an empty list of allowed ones is no restriction at all."""
    return f"{{allow: {json.dumps(subjects)}}}" if subjects else '{deny: [">"]}'


def _requests(market: MarketAccess) -> Iterator[str]:
    """What `NatsFeed` asks of JetStream for a reader."""
    if market.follows:
        yield from (f"$JS.API.STREAM.CREATE.{stream}" for stream in (TICKS_STREAM, BARS_STREAM))
    for stream in market.follows:
        yield f"$JS.API.STREAM.INFO.{stream}"
        yield f"$JS.API.CONSUMER.CREATE.{stream}"
    if TICKS_STREAM in market.follows:
        yield f"$JS.API.DIRECT.GET.{TICKS_STREAM}"
