"""`hub models ensemble`: several models as one, weighted by what was measured of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from serve_app.commands.options import NARROW, Token, Url, User, client

if TYPE_CHECKING:
    from serve_app.ensemble_upload import Draft


def ensemble(
    name: Annotated[str, typer.Argument(help="The ensemble's name.")],
    of: Annotated[
        str,
        typer.Option(
            metavar="A,B,C",
            help="Members: by name (whatever version is live) or name@version. Default: all live models.",
        ),
    ] = "",
    version: Annotated[str, typer.Option(help="Another recipe needs another version.")] = "1",
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Make an ensemble of models that are there: a candidate, judged by live outcomes like any other model.

    A request for it asks all members at once and weights them by the inverse of their interval loss.
    """
    from serve_app.ensemble_upload import drafted

    wanted = [member.strip() for member in of.split(",") if member.strip()]
    with client(url, token, user, admin=True) as hub:
        draft = drafted(hub.call("GET", "/api/v1/models"), name=name, version=version, of=wanted)
        added = hub.call("POST", "/api/v1/models", body=draft.upload())
    console, known = Console(), f"{added['name']}@{added['version']}"
    console.print(_table(draft))
    console.print(
        f"{known} is a {added['status']}, unmeasured: it answers whoever names it\n"
        f"let it answer everybody: hub models promote {known} --reason ...",
        highlight=False,
    )


def _table(draft: Draft) -> Table:
    table = Table(title=f"weights that {draft.card.key} has now", title_justify="left", **NARROW)
    for heading in ("member", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("weight", justify="right")
    heaviest_first = sorted(draft.members, key=lambda card: -draft.weights.get(str(card.key), 0.0))
    for member in heaviest_first:
        weight = draft.weights.get(str(member.key))
        shown = "no loss measured" if weight is None else f"{weight:.3f}"
        table.add_row(str(member.key), member.status.value, shown)
    return table
