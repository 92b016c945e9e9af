"""Options that several commands share, and the hub they are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from serve_app.client import HubClient

NARROW: Final[dict[str, Any]] = {"box": None, "pad_edge": False, "padding": (0, 1, 0, 0)}
"""A table without lines, so that numbers are whole in a terminal of 80 columns."""

Url = Annotated[
    str | None, typer.Option(envvar="HUB_URL", help="The hub's address; default: the one running here.")
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="HUB_TOKEN",
        help="Access token or API key; default: that of `hub login`, else one made with the local secret.",
    ),
]
User = Annotated[
    str | None, typer.Option(help="On whose behalf, with a token made here; wins over HUB_TOKEN.")
]
Ticks = Annotated[
    list[str] | None,
    typer.Option(
        help="SYMBOL=FILE, csv.gz with header ts_ms,bid,ask; repeatable. Default: the bundled extract."
    ),
]
Speed = Annotated[float, typer.Option(help="Market time over wall time.")]


def home_tenant() -> str | None:
    """The tenant of whoever is logged in here; None for nobody, and for the platform's people."""
    from models.tenant import PLATFORM_TENANT
    from serve_app.login_session import remembered

    session = remembered()
    return session.tenant_id if session and session.tenant_id != PLATFORM_TENANT else None


@contextmanager
def client(
    url: str | None, token: str | None, user: str | None, *, admin: bool = False
) -> Iterator[HubClient]:
    """A client of the given hub, or of the one that runs here; `user` wins over a token."""
    from serve_app.client import HubClient

    with HubClient(*access(url, token, user, admin=admin)) as hub:
        yield hub


def access(url: str | None, token: str | None, user: str | None, *, admin: bool = False) -> tuple[str, str]:
    """The hub's address and a token for it: that of `user`, or the one given, or that of who is logged in
    there, or of an operator with the local secret.
    """
    from models.principal import Tier
    from serve_app.access import local_token, principal_of
    from serve_app.login_session import access_token, remembered
    from serve_app.runfile import recall, run_file

    state = remembered()
    address = url or (state.url if state and not run_file().is_file() else recall().url)
    if not user and not token:
        token = access_token(address)
    if user or not token:
        principal = principal_of(user or "operator", tenant="local", tier=Tier.ENTERPRISE, admin=admin)
        token = local_token(recall(), principal)
    return address, token
