"""`hub route`, `hub explain`, `hub token`: ask the router, and see why."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.errors import ConfigError
from models.principal import Tier
from serve_app.commands.options import Token, Url, User, client


def route(
    task: Annotated[str, typer.Option(help="What is asked.")] = "time_series_forecast",
    size: Annotated[
        str, typer.Option(help="small, medium or large: at most 8, 256 or 4,096 windows.")
    ] = "small",
    latency: Annotated[str, typer.Option(help="How soon, in the founding words.")] = "< 100ms",
    accuracy: Annotated[str | None, typer.Option(help='Measured coverage, for example "> 95%".')] = None,
    strategy: Annotated[str, typer.Option(help="Routing profile.")] = "balanced",
    symbol: Annotated[str | None, typer.Option(help="Instrument the answer is for.")] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show which model and replica would answer, with which promise, and who else was considered."""
    body: dict[str, Any] = {"model_type": task, "data_size": size, "latency_requirement": latency}
    body |= {"routing_strategy": strategy}
    body |= {"accuracy_requirement": accuracy} if accuracy else {}
    body |= {"symbol": symbol} if symbol else {}
    with client(url, token, user) as hub:
        choice = hub.call("POST", "/api/v1/route", query={"explain": True}, body=body)
    _print_decision(choice["decision"])


def explain(
    identity: Annotated[str, typer.Argument(help="Id of a delivery or of a decision.")],
    sequence: Annotated[
        int | None, typer.Option(help="The delivery's sequence number, for one that is not recent.")
    ] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Say in words where a signal came from, or why a decision was made."""
    from serve_app.client import Refused

    console = Console()
    with client(url, token, user) as hub:
        try:
            query = {"sequence": sequence} if sequence else None
            found = hub.call("GET", f"/api/v1/signals/{identity}/explain", query=query)
        except Refused as error:
            if not error.message.startswith("404"):
                raise
            _print_decision(hub.call("GET", f"/api/v1/decisions/{identity}"))
            return
    _print_signal(console, found)


def token(
    user: Annotated[str, typer.Argument(help="Who the token says is calling.")],
    tenant: Annotated[str, typer.Option(help="The user's tenant.")] = "local",
    tier: Annotated[Tier, typer.Option(help="The tenant's tier.")] = Tier.PRO,
    hours: Annotated[float, typer.Option(help="How long it is valid.")] = 24.0,
    *,
    admin: Annotated[bool, typer.Option("--admin", help="With the role `admin`.")] = False,
) -> None:
    """Print an access token for the hub that runs here, signed with its local secret."""
    from serve_app.access import local_token, principal_of
    from serve_app.runfile import recall

    if hours <= 0:
        raise ConfigError(f"--hours was {hours}; expected a number above 0", field="hours")
    principal = principal_of(user, tenant=tenant, tier=tier, admin=admin)
    typer.echo(local_token(recall(), principal, ttl_s=int(hours * 3600)))


def _print_signal(console: Console, found: dict[str, Any]) -> None:
    from serve_app.audit.words import signal_lines

    for line in signal_lines(found["signal"]):
        console.print(line, highlight=False)
    if found["prediction"] and found["prediction"].get("decision"):
        _print_decision(found["prediction"]["decision"])


def _print_decision(decision: dict[str, Any]) -> None:
    console, promise = Console(), decision["promise"]
    chosen = decision["chosen"]
    console.print(
        f"decision {decision['decision_id']} ({decision['profile']}): {chosen['name']}@{chosen['version']} "
        f"on {decision['replica']}, attempt {decision['attempt']}\n"
        f"  promised: done in {promise['expected_ms']:.2f} ms, by the deadline with probability "
        f"{promise['p_meet']:.3f}, {promise['interval_level']:.0%} interval\n"
        f"  because: {decision['reason']}",
        highlight=False,
    )
    if outcome := decision.get("outcome"):
        console.print(f"  became: {_ended(outcome)}; attempt {outcome['attempts']}", highlight=False)
    for gone in decision["filters"]:
        if gone["removed"]:
            console.print(f"  {gone['name']} removed {gone['removed']}: {gone['reason']}", highlight=False)
    console.print(_shortlist(decision["shortlist"]))


def _ended(outcome: dict[str, Any]) -> str:
    after = f"after {outcome['elapsed_ms']:.2f} ms"
    if error := outcome["error"]:
        return f"failed {after} with {error}: {outcome['detail']}"
    kept = "in time" if outcome["met"] else "too late"
    waited, ran = f"{outcome['queue_ms']:.2f}", f"{outcome['inference_ms']:.2f}"
    return f"answered {kept} {after}, of which it waited {waited} and ran {ran}"


def _shortlist(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="considered", title_justify="left")
    for heading in ("model", "replica"):
        table.add_column(heading, no_wrap=True)
    for heading in ("expected ms", "quantile ms", "p_meet", "fits", "score", "queue"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["model"],
            row["replica"],
            f"{row['expected_ms']:.3f}",
            f"{row['quantile_ms']:.3f}",
            f"{row['p_meet']:.3f}",
            "yes" if row["feasible"] else "no",
            f"{row['score']:.3f}",
            str(row["queue"]),
        )
    return table
