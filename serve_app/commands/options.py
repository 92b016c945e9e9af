"""Options that several commands share, and the hub they are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serve_app.client import HubClient

Url = Annotated[
    str | None, typer.Option(envvar="HUB_URL", help="The hub's address; default: the one running here.")
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="HUB_TOKEN", help="Access token; default: one made for --user with the local secret."
    ),
]
User = Annotated[str, typer.Option(help="On whose behalf, with a local token.")]
Ticks = Annotated[
    list[str] | None,
    typer.Option(
        help="SYMBOL=FILE, csv.gz with header ts_ms,bid,ask; repeatable. Default: the bundled extract."
    ),
]
Speed = Annotated[float, typer.Option(help="Market time over wall time.")]


@contextmanager
def client(url: str | None, token: str | None, user: str, *, admin: bool = False) -> Iterator[HubClient]:
    """A client of the given hub, or of the one that runs here."""
    from models.principal import Tier
    from serve_app.access import local_token, principal_of
    from serve_app.client import HubClient
    from serve_app.runfile import recall

    address = url or recall().url
    principal = principal_of(user, tenant="local", tier=Tier.ENTERPRISE, admin=admin)
    with HubClient(address, token or local_token(recall(), principal)) as hub:
        yield hub
