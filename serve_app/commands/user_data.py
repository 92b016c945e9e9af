"""`hub data`: what is kept of a user, from the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

import orjson
import typer

from models.user_event import DataType
from serve_app.commands.options import Token, Url, User, client

PATH: Final = "/api/v1/control/tenants/{}/users/{}/data/{}"
_PAGE: Final = 200


def data(
    of_user: Annotated[
        str, typer.Argument(metavar="USER", help="The user's id, as `hub users ls` shows it.")
    ],
    data_type: Annotated[DataType, typer.Argument(metavar="TYPE", help=f"One of {', '.join(DataType)}.")],
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="Of which tenant.")],
    since: Annotated[datetime | None, typer.Option(help="Taken by the hub from then on, in UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="And before then, in UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many events.")] = 100,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Print a user's events as lines of JSON, in the order in which the hub took them."""
    path = PATH.format(quote(tenant, safe=""), quote(of_user, safe=""), data_type.value)
    window = {"from": _ns(since), "to": _ns(until)}
    query: dict[str, Any] = {name: at_ns for name, at_ns in window.items() if at_ns is not None}
    with client(url, token, user, admin=True) as hub:
        while limit:
            page = hub.call("GET", path, query=query | {"limit": min(limit, _PAGE)})
            for event in page["events"]:
                typer.echo(orjson.dumps(event))
            if page["next_cursor"] is None:
                return
            limit -= len(page["events"])
            query["cursor"] = page["next_cursor"]


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp()) * 10**9
