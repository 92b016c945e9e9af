"""`hub config`: what holds for a tenant or a user, and how that is changed, compared and taken back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from serve_app.commands.options import NARROW, Token, Url, User, client, home_tenant

app = typer.Typer(
    no_args_is_help=True,
    help="What holds for a tenant or a user: show it with its origin, change it, take it back.",
)

CONTROL: Final = "/api/v1/control"

Tenant = Annotated[
    str | None, typer.Option("--tenant", help="Of which tenant; default: the one you are logged in at.")
]
Of = Annotated[str | None, typer.Option("--of", metavar="USER_ID", help="Of this user of the tenant.")]
Why = Annotated[str, typer.Option("--comment", help="Why; it stands in the history.")]
Expected = Annotated[
    int | None, typer.Option("--if-version", help="Refuse if the layer is not at this version any more.")
]
Version = Annotated[
    int, typer.Argument(min=0, help="A version of `hub config history`; 0 is before the first.")
]


@app.command()
def get(
    names: Annotated[
        list[str] | None, typer.Argument(help="Settings or sections: risk.scale, limits.")
    ] = None,
    tenant: Tenant = None,
    of: Of = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show what holds, and from which layer and version each value is."""
    with client(url, token, user, admin=True) as hub:
        page = hub.call("GET", _path(tenant, of))
    table = Table("setting", "value", "from", **NARROW)
    for name, origin in page["origins"].items():
        if names and not any(name == one or name.startswith(f"{one}.") for one in names):
            continue
        section, _, leaf = name.partition(".")
        table.add_row(name, _shown(page["config"][section][leaf]), _origin(origin))
    console = Console()
    console.print(table)
    console.print(f"version {page['version']} of the layer `{page['layer']}`", style="dim", highlight=False)


@app.command("set")
def set_(
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE...", help="VALUE as JSON or plain text; nothing: inherit again."),
    ] = None,
    tenant: Tenant = None,
    of: Of = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--secret",
            metavar="NAME=FILE",
            help="A secret from a file, or `-` for standard input; repeatable.",
        ),
    ] = None,
    comment: Why = "",
    if_version: Expected = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Change settings: `hub config set risk.scale=0.5 features.stream=false --tenant acme`.

    Secrets are never given on the command line, where every user of the machine could read them.
    """
    config = {**_values(values or []), **_secrets(secret or [])}
    if not config:
        raise typer.BadParameter("name at least one setting, as NAME=VALUE", param_hint="values")
    body = {"config": config, "comment": comment}
    with client(url, token, user, admin=True) as hub:
        written = hub.call("PATCH", _path(tenant, of), body=body, query=_expected(if_version))
    _tell_version(written)


@app.command()
def diff(
    before: Version,
    after: Version,
    tenant: Tenant = None,
    of: Of = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show what is not the same in two versions."""
    with client(url, token, user, admin=True) as hub:
        page = hub.call("GET", f"{_path(tenant, of)}/versions/{before}/diff/{after}")
    if not page["differences"]:
        typer.echo("no difference")
        return
    table = Table("setting", f"version {before}", f"version {after}", **NARROW)
    for one in page["differences"]:
        table.add_row(one["name"], _shown(one["before"]), _shown(one["after"]))
    Console().print(table)


@app.command()
def history(
    tenant: Tenant = None,
    of: Of = None,
    most: Annotated[int, typer.Option(min=1, max=500, help="How many versions.")] = 20,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show who changed it, when and why, the newest first."""
    with client(url, token, user, admin=True) as hub:
        found = hub.call("GET", f"{_path(tenant, of)}/versions", query={"most": most})["versions"]
    if not found:
        typer.echo("nobody has changed it yet")
        return
    table = Table("version", "when (UTC)", "by", "why", **NARROW)
    for one in found:
        when = datetime.fromtimestamp(one["at_ns"] / 1e9, UTC)
        table.add_row(str(one["version"]), f"{when:%Y-%m-%d %H:%M:%S}", one["author"], one["comment"])
    Console().print(table)


@app.command()
def rollback(
    to: Annotated[int, typer.Argument(min=0, help="The version to go back to.")],
    tenant: Tenant = None,
    of: Of = None,
    comment: Why = "",
    if_version: Expected = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Write what an older version said as the next one; nothing of the history is lost."""
    body = {"to": to, "comment": comment}
    with client(url, token, user, admin=True) as hub:
        path = f"{_path(tenant, of)}/rollback"
        _tell_version(hub.call("POST", path, body=body, query=_expected(if_version)))


@app.command()
def template(
    name: Annotated[
        str | None, typer.Argument(help="The template to apply; without it they are listed.")
    ] = None,
    tenant: Tenant = None,
    of: Of = None,
    comment: Why = "",
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """List the templates, or set what one of them sets."""
    with client(url, token, user, admin=True) as hub:
        if name:
            body = {"template": name, "comment": comment}
            _tell_version(hub.call("POST", f"{_path(tenant, of)}/apply-template", body=body))
            return
        found = hub.call("GET", f"{CONTROL}/config-templates")["templates"]
    table = Table("template", "what it is for", "what it sets", **NARROW)
    for each, said in found.items():
        values = "\n".join(f"{setting} = {_shown(value)}" for setting, value in said["config"].items())
        table.add_row(each, said["about"], values)
    Console().print(table)


app.command("templates", hidden=True)(template)


@app.command()
def schema(
    section: Annotated[str | None, typer.Argument(help="Only this section: risk, limits, ...")] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show every setting there is: what it is for, what it takes, and who may set it."""
    with client(url, token, user, admin=True) as hub:
        found = hub.call("GET", f"{CONTROL}/config-schema")["settings"]
    console = Console()
    for one in found:
        if section and not one["name"].startswith(f"{section}."):
            continue
        console.print(one["name"], style="bold", highlight=False, markup=False)
        about = Text(f"{one['about']} Takes {one['expects']}.\n").append(_traits(one), style="dim")
        console.print(Padding(about, (0, 0, 0, 2)), highlight=False)


def _traits(one: dict[str, Any]) -> str:
    by = ", ".join([*(["platform"] if not one["secret"] else []), *one["set_by"]])
    traits = [f"set by {by}", f"default {_shown(one['default'])}"]
    return "; ".join(traits + ["secret"] * one["secret"] + ["may only be lowered below"] * one["bounding"])


def _path(tenant: str | None, of: str | None) -> str:
    user = f"/users/{quote(of, safe='')}" if of else ""
    return f"{CONTROL}/tenants/{quote(tenant or home_tenant() or 'local', safe='')}{user}/config"


def _expected(version: int | None) -> dict[str, Any] | None:
    return None if version is None else {"version": version}


def _values(given: list[str]) -> dict[str, Any]:
    """What stands behind `=` as JSON where it is that, else as text."""
    import orjson

    from deployments.front.tenant_config.schema import SCHEMA

    found: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise typer.BadParameter(f"{name!r} has no value; say NAME=VALUE", param_hint="values")
        if name in SCHEMA and SCHEMA[name].secret:
            raise typer.BadParameter(f"{name} is a secret; say --secret {name}=FILE", param_hint="values")
        try:
            found[name] = orjson.loads(text) if text else None
        except orjson.JSONDecodeError:
            found[name] = text
        if name in SCHEMA and SCHEMA[name].kind.is_text and text:
            found[name] = text
    return found


def _secrets(given: list[str]) -> dict[str, str]:
    from serve_app.secret_input import secret_of

    pairs = (one.partition("=") for one in given)
    return {name: secret_of(Path(file or "-")) for name, _, file in pairs}


def _tell_version(written: dict[str, Any]) -> None:
    typer.echo(f"the layer `{written['layer']}` of {written['tenant_id']} is at version {written['version']}")


def _shown(value: Any) -> str:
    """A value in a table: JSON, but plain text without quotes, and of a secret whether it is set."""
    import orjson

    if value is None:
        return "-"
    if isinstance(value, dict) and value.get("secret") is True:
        return "(secret, set)" if value["set"] else "(secret, not set)"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _origin(origin: dict[str, Any]) -> str:
    text = f"{origin['layer']} {origin['version']}" if origin["version"] else str(origin["layer"])
    return f"{text}, over {origin['overrules']}" if origin.get("overrules") else text
