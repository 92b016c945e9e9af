"""`hub keys`: API keys, for programs that act for you."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from models.access import Permission
from models.errors import ConfigError
from serve_app.commands.options import NARROW, Token, Url, User, client

app = typer.Typer(
    no_args_is_help=True, help="API keys for programs that act for you: list, create, rotate, revoke."
)

CONTROL: Final = "/api/v1/control"

Tenant = Annotated[
    str | None, typer.Option("--tenant", help="Of which tenant; default: the one you are logged in at.")
]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `hub keys ls` shows it.")]


@app.command()
def ls(tenant: Tenant = None, url: Url = None, token: Token = None, user: User = None) -> None:
    """List the keys that are good: your own, or for an administrator all of the tenant."""
    found: list[dict[str, Any]] = []
    after: str | None = ""
    with client(url, token, user, admin=True) as hub:
        while after is not None:
            page = hub.call("GET", _keys(tenant), query={"after": after, "most": 500})
            found += page["keys"]
            after = page["next"]
    table = Table("key id", "name", "until", "scopes", **NARROW)
    for one in found:
        table.add_row(one["key_id"], one["name"], _day(one["expires_ns"]), " ".join(one["scopes"]))
    Console().print(table)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[Permission],
        typer.Option(help="What it may do, for example infer, models:read, signals:own; repeatable."),
    ],
    days: Annotated[float, typer.Option(help="How long it is good, at most a year.")] = 90.0,
    user_id: Annotated[
        str | None, typer.Option(help="For another user of the tenant, by an administrator.")
    ] = None,
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Make a key. It may do what its scopes and its user's roles both allow, and is shown this once.

    A program sends it as `Authorization: Bearer hubk_...`, and commands take it as HUB_TOKEN.
    """
    body: dict[str, Any] = {"name": name, "scopes": list(scope), "days": days}
    body |= {"user_id": user_id} if user_id else {}
    with client(url, token, user, admin=True) as hub:
        _show(hub.call("POST", _keys(tenant), body=body))


@app.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[float, typer.Option(help="Hours for which the old key stays good, 0 to 168.")] = 1.0,
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Make another key in place of one; both are good for the grace, so that programs can change over."""
    with client(url, token, user, admin=True) as hub:
        path = f"{_keys(tenant)}/{key_id}/rotate"
        _show(hub.call("POST", path, query={"grace_s": int(grace * 3600)}))


@app.command()
def revoke(
    key_id: KeyId, tenant: Tenant = None, url: Url = None, token: Token = None, user: User = None
) -> None:
    """End a key; it is refused everywhere within a second."""
    with client(url, token, user, admin=True) as hub:
        hub.call("DELETE", f"{_keys(tenant)}/{key_id}")
    typer.echo(f"{key_id} is revoked")


def _keys(tenant: str | None) -> str:
    from serve_app.login_session import remembered

    state = remembered()
    if tenant is None and state is None:
        raise ConfigError(
            "nobody is logged in here: log in with `hub login`, or name a --tenant", field="tenant"
        )
    return f"{CONTROL}/tenants/{tenant or (state.tenant_id if state else '')}/keys"


def _show(issued: dict[str, Any]) -> None:
    key = issued["key"]
    typer.echo(f"{key['name']} is {key['key_id']}, good until {_day(key['expires_ns'])}. Shown this once:")
    typer.echo(issued["token"])


def _day(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")
