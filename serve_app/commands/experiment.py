"""`hub experiment list|show`: how experiments over live traffic stand."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from serve_app.commands.options import Token, Url, User, client

app = typer.Typer(no_args_is_help=True, help="Show experiments over live traffic. For operators.")

_METRICS = {"met": "met", "completion_ms": "completion ms", "cost": "cost"}


@app.command(name="list")
def list_experiments(url: Url = None, token: Token = None, user: User = None) -> None:
    """List the experiments with their requests and verdicts."""
    console, found = Console(), _found(url, token, user)
    table = Table(title=_whose(found), title_justify="left")
    for heading in ("experiment", "kind", "requests for", "metric", "n", "verdict"):
        table.add_column(heading, justify="right" if heading == "n" else "left")
    for trial in found["experiments"]:
        n = sum(arm["n"] for arm in trial["arms"])
        table.add_row(
            trial["name"], trial["kind"], trial["asked"], trial["metric"], f"{n:,}", _verdict(trial)
        )
    console.print(table if found["experiments"] else "no experiment is configured (config/experiments.yaml)")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The experiment's name.")],
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show the arms of an experiment: requests, means, and differences to the control with their bounds."""
    from models.errors import BadValue

    console, found = Console(), _found(url, token, user)
    trials = {trial["name"]: trial for trial in found["experiments"]}
    if name not in trials:
        known = ", ".join(trials) or "none"
        raise BadValue(f"there is no experiment {name!r}; running are: {known}", field="NAME")
    trial = trials[name]
    console.print(f"{name} ({trial['kind']}) on requests for {trial['asked']}: {_verdict(trial)}")
    console.print(_arms(trial))
    console.print(
        f"[...]: the difference to the control, with bounds that hold at any moment with probability "
        f"{1 - trial['alpha']:.0%}. {_whose(found)}",
        style="dim",
        markup=False,
    )


def _found(url: str | None, token: str | None, user: str | None) -> dict[str, Any]:
    with client(url, token, user, admin=True) as hub:
        found: dict[str, Any] = hub.call("GET", "/api/v1/routing/analytics")
    return found


def _whose(found: dict[str, Any]) -> str:
    return f"As gateway {found['gateway']} has seen them in {found['uptime_s']:,.0f} s."


def _verdict(trial: dict[str, Any]) -> str:
    verdicts = [f"{arm['arm']}: {arm['verdict']}" for arm in trial["arms"] if arm["verdict"]]
    return "; ".join((*verdicts, "stopped") if trial["stopped"] else verdicts)


def _arms(trial: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("arm")
    for heading in ("n", *_METRICS.values()):
        table.add_column(heading, justify="right")
    for arm in trial["arms"]:
        table.add_row(arm["arm"], f"{arm['n']:,}", *(_metric(arm, metric) for metric in _METRICS))
    return table


def _metric(arm: dict[str, Any], metric: str) -> str:
    """The mean, and where there is one the difference to the control with its bounds."""
    mean, found = arm[metric], arm["intervals"].get(metric)
    if mean is None:
        return "-"
    if found is None:
        return f"{mean:.4g}"
    return f"{mean:.4g} \\[{found['difference']:+.4g}: {found['lower']:+.4g} to {found['upper']:+.4g}]"
