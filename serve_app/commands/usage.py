"""`hub usage`: what a tenant used, its bill, and what all tenants used by tier or feature."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from serve_app.commands.options import NARROW, Token, Url, User, client

app = typer.Typer(no_args_is_help=True, help="See what tenants used, and export it for billing.")

PATH: Final = "/api/v1/control"

TenantName = Annotated[str, typer.Argument(help="The tenant.")]
Month = Annotated[str | None, typer.Option(help="As 2026-11, in UTC; default: this month.")]


class By(StrEnum):
    """What amounts of a tenant are added up by."""

    MEASURE = "measure"
    USER = "user"
    DAY = "day"
    FEATURE = "feature"


class Format(StrEnum):
    """How a bill's lines are written."""

    CSV = "csv"
    JSON = "json"


@app.command()
def show(
    tenant: TenantName,
    month: Month = None,
    by: Annotated[By, typer.Option(help="What is added up by.")] = By.MEASURE,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show what a tenant used in a month."""
    with client(url, token, user, admin=True) as hub:
        found = hub.call("GET", f"{PATH}/tenants/{tenant}/usage", query=_query(month, by=by.value))
    _print(found)


@app.command()
def export(
    tenant: TenantName,
    month: Month = None,
    format: Annotated[Format, typer.Option(help="csv or json.")] = Format.CSV,  # noqa: A002 - the option's name
    out: Annotated[Path | None, typer.Option(help="Write to this file; default: the terminal.")] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Export a month of a tenant line by line, for billing."""
    import orjson

    from deployments.control.usage.desk import csv_of
    from models.usage import UsageRow

    with client(url, token, user, admin=True) as hub:
        found = hub.call("GET", f"{PATH}/tenants/{tenant}/usage/export", query=_query(month, format="json"))
    if format is Format.JSON:
        text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n"
    else:
        text = csv_of([UsageRow.model_validate(row, strict=False) for row in found["rows"]])
    if out:
        out.write_text(text, encoding="utf-8", newline="")
    else:
        typer.echo(text, nl=False)


@app.command()
def tiers(month: Month = None, url: Url = None, token: Token = None, user: User = None) -> None:
    """Show what all tenants used in a month, by tier and by feature."""
    with client(url, token, user, admin=True) as hub:
        for by in ("tier", "feature"):
            _print(hub.call("GET", f"{PATH}/platform/usage", query=_query(month, by=by)))


def _query(month: str | None, **more: str) -> dict[str, str]:
    return {"month": month or f"{datetime.now(UTC):%Y-%m}", **more}


def _print(found: dict[str, Any]) -> None:
    table = Table(found["by"], "measure", "amount", title=found["month"], **NARROW)
    for one in found["totals"]:
        table.add_row(one["by"] or "(the tenant)", one["measure"], f"{one['amount']:,}")
    Console().print(table)
