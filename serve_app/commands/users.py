"""`hub users`: the people of a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from models.access import Role
from serve_app.commands.options import NARROW, Token, Url, User, client

app = typer.Typer(
    no_args_is_help=True, help="The people of a tenant: list, invite, add, change and remove them."
)

CONTROL: Final = "/api/v1/control"

Tenant = Annotated[str, typer.Option("--tenant", help="Of which tenant.")]
Roles = Annotated[
    list[Role], typer.Option("--role", help="What they may do; repeatable: owner > admin > trader > viewer.")
]
UserId = Annotated[str, typer.Argument(help="The user's id, as `hub users ls` shows it.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="File with the password; `-` reads it from standard input.")
]


@app.command()
def ls(tenant: Tenant, url: Url = None, token: Token = None, user: User = None) -> None:
    """List the users of a tenant."""
    found: list[dict[str, Any]] = []
    after: str | None = ""
    with client(url, token, user, admin=True) as hub:
        while after is not None:
            page = hub.call("GET", _users(tenant), query={"after": after, "most": 500})
            found += page["users"]
            after = page["next"]
    table = Table("login", "user id", "roles", "may come in", **NARROW)
    for one in found:
        table.add_row(one["login"], one["user_id"], " ".join(one["roles"]), "yes" if one["enabled"] else "no")
    Console().print(table)


@app.command()
def add(
    login: Annotated[str, typer.Argument(help="What they log in as.")],
    tenant: Tenant,
    role: Roles = [Role.TRADER],  # noqa: B006 - typer copies it
    password_file: PasswordFile = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Add a user. Without a password it comes in by API keys alone; people are better invited."""
    from serve_app.secret_input import secret_of

    body: dict[str, Any] = {"login": login, "name": login, "roles": list(role)}
    if password_file:
        body["password"] = secret_of(password_file)
    with client(url, token, user, admin=True) as hub:
        added = hub.call("POST", _users(tenant), body=body)
    typer.echo(f"{login} is {added['user_id']}, {' '.join(added['roles'])}")


@app.command()
def invite(
    login: Annotated[str, typer.Argument(help="What they will log in as.")],
    tenant: Tenant,
    role: Roles = [Role.TRADER],  # noqa: B006 - typer copies it
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Invite somebody who chooses the password alone, within a week."""
    with client(url, token, user, admin=True) as hub:
        path = f"{CONTROL}/tenants/{tenant}/invitations"
        sent = hub.call("POST", path, body={"login": login, "roles": list(role)})
    typer.echo(f"Hand this to {login}; it is shown this once:\n{sent['token']}\nThey run: hub users accept")


@app.command()
def accept(
    name: Annotated[str, typer.Option(prompt="Your name", help="What people call you.")],
    invitation: Annotated[str, typer.Option(prompt=True, help="What you were sent: hinv....")],
    password_file: PasswordFile = None,
    url: Url = None,
) -> None:
    """Accept an invitation, with a password of at least 12 characters that you choose."""
    from serve_app.runfile import recall
    from serve_app.secret_input import new_password

    body = {"token": invitation, "name": name, "password": new_password(password_file)}
    from serve_app.client import HubClient

    with HubClient(url or recall().url, None) as hub:
        made = hub.call("POST", f"{CONTROL}/invitations/accept", body=body)
    login, tenant = made["login"], made["tenant_id"]
    typer.echo(f"You are {login} of {tenant}: hub login --tenant {tenant} {login}")


@app.command()
def change(
    user_id: UserId,
    tenant: Tenant,
    role: Annotated[list[Role] | None, typer.Option(help="The roles from now on; repeatable.")] = None,
    enabled: Annotated[bool | None, typer.Option(help="Whether they may come in.")] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Change the roles of a user, or whether they may come in; it holds within a second."""
    asked: dict[str, Any] = {}
    if role:
        asked["roles"] = list(role)
    if enabled is not None:
        asked["enabled"] = enabled
    with client(url, token, user, admin=True) as hub:
        changed = hub.call("PATCH", f"{_users(tenant)}/{user_id}", body=asked)
    state = "may come in" if changed["enabled"] else "may not come in"
    typer.echo(f"{changed['login']}: {' '.join(changed['roles'])}, {state}")


@app.command()
def remove(user_id: UserId, tenant: Tenant, url: Url = None, token: Token = None, user: User = None) -> None:
    """Remove a user; sessions and keys stop counting within a second."""
    with client(url, token, user, admin=True) as hub:
        hub.call("DELETE", f"{_users(tenant)}/{user_id}")
    typer.echo(f"{user_id} is removed")


def _users(tenant: str) -> str:
    return f"{CONTROL}/tenants/{tenant}/users"
