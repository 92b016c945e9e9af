"""`hub tenants`: make tenants, see them, move them between tiers, suspend and end them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from models.principal import Tier
from serve_app.commands.options import NARROW, Token, Url, User, client

app = typer.Typer(
    no_args_is_help=True, help="Make tenants, see them, move them between tiers, suspend and end them."
)

PATH: Final = "/api/v1/control/tenants"

TenantName = Annotated[str, typer.Argument(help="The tenant: lower case letters, digits and dashes.")]
Why = Annotated[str, typer.Option("--reason", help="Why; the tenant's users read it.")]


@app.command()
def create(
    tenant: TenantName,
    owner: Annotated[str, typer.Option(help="Login of the first person, who owns the tenant.")],
    name: Annotated[str | None, typer.Option(help="What people call the tenant. [default: its id]")] = None,
    tier: Annotated[Tier, typer.Option(help="What it pays for.")] = Tier.FREE,
    template: Annotated[
        str | None, typer.Option(help="Begin with this config; `hub config templates` lists them.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the owner's password; without it the owner is invited.")
    ] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Make a tenant that is ready to use: itself, its owner, its config and its quotas, in one step."""
    from serve_app.secret_input import secret_of

    person = {"login": owner, "name": owner}
    if password_file:
        person["password"] = secret_of(password_file)
    body: dict[str, Any] = {"tenant_id": tenant, "name": name or tenant, "tier": tier, "owner": person}
    if template:
        body["template"] = template
    with client(url, token, user, admin=True) as hub:
        made = hub.call("POST", PATH, body=body)
    typer.echo(f"{tenant} is ready, tier {made['tenant']['tier']}.")
    if made["invitation"]:
        typer.echo(
            f"Invitation for {owner}, shown this once and good for a week:\n{made['invitation']}\n"
            f"They accept it with: hub users accept"
        )


@app.command()
def ls(url: Url = None, token: Token = None, user: User = None) -> None:
    """List all tenants."""
    found: list[dict[str, Any]] = []
    after: str | None = ""
    with client(url, token, user, admin=True) as hub:
        while after is not None:
            page = hub.call("GET", PATH, query={"after": after, "most": 500})
            found += page["tenants"]
            after = page["next"]
    table = Table("tenant", "name", "tier", "status", "entitled until", **NARROW)
    for one in found:
        table.add_row(
            one["tenant_id"], one["name"], one["tier"], one["status"], _day(one["entitled_until_ns"])
        )
    Console().print(table)


@app.command()
def show(tenant: TenantName, url: Url = None, token: Token = None, user: User = None) -> None:
    """Show one tenant."""
    with client(url, token, user, admin=True) as hub:
        one = hub.call("GET", f"{PATH}/{tenant}")
    typer.echo(
        f"{one['tenant_id']} ({one['name']})\ntier {one['tier']}, {one['status']}, "
        f"entitled until {_day(one['entitled_until_ns'])}, version {one['version']}"
    )


@app.command()
def tier(
    tenant: TenantName,
    to: Annotated[Tier, typer.Argument(help="The new tier.")],
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Move a tenant to another tier; limits and entitlement follow within a second, nobody logs in again."""
    with client(url, token, user, admin=True) as hub:
        hub.call("PATCH", f"{PATH}/{tenant}", body={"tier": to})
    typer.echo(f"{tenant} is {to} now")


@app.command()
def suspend(tenant: TenantName, reason: Why, url: Url = None, token: Token = None, user: User = None) -> None:
    """Let nobody of a tenant in, and ask its users for nothing, until `hub tenants resume`."""
    with client(url, token, user, admin=True) as hub:
        hub.call("PUT", f"{PATH}/{tenant}/suspension", body={"reason": reason})
    typer.echo(f"{tenant} is suspended; `hub tenants resume {tenant}` ends it")


@app.command()
def resume(tenant: TenantName, url: Url = None, token: Token = None, user: User = None) -> None:
    """Let a suspended tenant go on."""
    with client(url, token, user, admin=True) as hub:
        hub.call("DELETE", f"{PATH}/{tenant}/suspension")
    typer.echo(f"{tenant} goes on")


@app.command()
def export(
    tenant: TenantName,
    to: Annotated[Path, typer.Argument(help="A file that is not there yet; one JSON object a line.")],
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Write everything the hub keeps of a tenant into a file; secret values stay behind."""
    from models.errors import BadValue

    try:
        out = to.open("xb")
    except FileExistsError:
        raise BadValue(f"{to} is there already; give another name", field="to") from None
    with (
        out,
        client(url, token, user, admin=True) as hub,
        hub.stream("GET", f"{PATH}/{tenant}/export") as pieces,
    ):
        size = sum(out.write(piece) for piece in pieces)
    typer.echo(f"{size:,} bytes in {to}")


@app.command()
def delete(
    tenant: TenantName,
    confirm: Annotated[str, typer.Option(help="The tenant's name once more: nothing of it comes back.")],
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """End a tenant: its people, config, keys and data are erased. Take `hub tenants export` first."""
    with client(url, token, user, admin=True) as hub:
        hub.call("DELETE", f"{PATH}/{tenant}", query={"confirm": confirm})
    typer.echo(f"{tenant} is deleted; its audit log stays, and its name is not given again")


def _day(ns: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ns // 10**9))
