"""`hub login`, `hub logout`: whom the other commands act for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_app.commands.options import Url


def login(
    name: Annotated[str, typer.Argument(metavar="LOGIN", help="What you log in as.")],
    tenant: Annotated[str, typer.Option(help="Your tenant; `platform` for the people who run the hub.")],
    password_file: Annotated[
        Path | None,
        typer.Option(help="File with the password; `-` reads it from standard input. Default: asked for."),
    ] = None,
    url: Url = None,
) -> None:
    """Log in: the other commands act for you from now on, until `hub logout`.

    The session is kept in a file that only you can read; --user and --token still win over it.
    """
    from serve_app.client import HubClient
    from serve_app.login_session import AUTH, LoginState, remember
    from serve_app.runfile import recall
    from serve_app.secret_input import known_password

    address = url or recall().url
    body = {
        "tenant": tenant,
        "login": name,
        "password": known_password(password_file),
        "client": "hub command",
    }
    with HubClient(address, None) as hub:
        pair = hub.call("POST", f"{AUTH}/login", body=body)
    remember(LoginState.of(pair, url=address, login=name))
    typer.echo(f"{name} of {tenant} is logged in at {address}")


def logout() -> None:
    """Log out: your session ends everywhere within a second."""
    from serve_app.login_session import end

    was = end()
    typer.echo(f"{was.login} of {was.tenant_id} is logged out" if was else "nobody was logged in")
