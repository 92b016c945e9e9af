"""`hub halt` and `hub resume`: the kill switch."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from models.halt import EVERYTHING, HaltScope
from serve_app.commands.options import Token, Url, User, client

Scope = Annotated[HaltScope, typer.Argument(help="What: user, tenant, model, strategy, or all.")]
Halted = Annotated[
    str,
    typer.Argument(help="Which: a user, a tenant, model@version or strategy@version; nothing for `all`."),
]
Reason = Annotated[str, typer.Option(help="Why; those who are halted read it in their signals.")]
Direct = Annotated[
    bool,
    typer.Option(
        "--direct",
        help="Write past a gateway that does not answer: to the Kafka of the bundled hub that runs here, else"
        " to that of the settings.",
    ),
]


def halt(
    scope: Scope,
    halted: Halted = EVERYTHING,
    *,
    reason: Reason,
    direct: Direct = False,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Stop signals: from now on those it covers are asked for nothing, and their signals say why.

    In force within a tenth of a second, through restarts, until `hub resume`. `hub halts` lists them.
    """
    _check(scope, halted)
    if direct:
        from serve_app.direct_halts import write_halt

        write_halt(scope, halted, reason=reason)
    else:
        with client(url, token, user, admin=True) as hub:
            hub.call("PUT", _path(scope, halted), body={"reason": reason})
    typer.echo(f"halted: {scope} {halted} ({reason}). `hub resume {scope} {halted}` ends it.")


def resume(
    scope: Scope,
    halted: Halted = EVERYTHING,
    *,
    direct: Direct = False,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """End a halt: signals follow from the next due slot on."""
    _check(scope, halted)
    if direct:
        from serve_app.direct_halts import write_resumption

        write_resumption(scope, halted)
    else:
        with client(url, token, user, admin=True) as hub:
            hub.call("DELETE", _path(scope, halted))
    typer.echo(f"resumed: {scope} {halted}")


def halts(url: Url = None, token: Token = None, user: User = None) -> None:
    """List what is halted, by whom, since when and why."""
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    with client(url, token, user, admin=True) as hub:
        found = hub.call("GET", "/api/v1/halts")["halts"]
    if not found:
        typer.echo("nothing is halted")
        return
    table = Table()
    for heading in ("scope", "id", "since (UTC)", "by", "reason"):
        table.add_column(heading)
    for one in found:
        since = datetime.fromtimestamp(one["at_ns"] / 1e9, UTC)
        table.add_row(one["scope"], one["id"], f"{since:%Y-%m-%d %H:%M:%S}", one["by"], one["reason"])
    Console().print(table)


def _check(scope: HaltScope, halted: str) -> None:
    if scope is HaltScope.ALL and halted != EVERYTHING:
        raise typer.BadParameter(f"`all` takes no id, and {halted!r} was given", param_hint="halted")
    if scope is not HaltScope.ALL and halted == EVERYTHING:
        raise typer.BadParameter(f"say which {scope}; everything is `all`", param_hint="halted")


def _path(scope: HaltScope, halted: str) -> str:
    return f"/api/v1/halts/{scope}/{quote(halted, safe='')}"
