"""`hub subscribe` and `hub signals`: make and show one user's stream."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Console

from serve_app.commands.options import Token, Url, User, client

_POLL_S = 0.5


def subscribe(
    strategy: Annotated[str, typer.Argument(help="Strategy as name@version.")],
    symbol: Annotated[str, typer.Argument(help="Canonical symbol, for example EURUSD.")],
    account: Annotated[str, typer.Option(help="Trading account of the user.")] = "default",
    scale: Annotated[float, typer.Option(help="Targets are multiplied by this.")] = 1.0,
    max_fraction: Annotated[float, typer.Option(help="Targets are clipped to this.")] = 1.0,
    *,
    end: Annotated[bool, typer.Option("--end", help="End the subscription instead.")] = False,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Subscribe the user to a strategy on a symbol, change its risk settings, or end it."""
    path = f"/api/v1/subscriptions/{strategy}/{symbol}"
    risk = {"risk": {"scale": scale, "max_fraction": max_fraction}}
    with client(url, token, user) as hub:
        if end:
            hub.call("DELETE", path, query={"account": account})
            typer.echo(f"{strategy} on {symbol} is no longer followed (account {account})")
            return
        made = hub.call("PUT", path, query={"account": account}, body=risk)
    typer.echo(f"{made['user_id']} follows {strategy} on {symbol} (account {account})")


def signals(
    since: Annotated[int, typer.Option(help="Show signals after this sequence number.")] = 0,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as new ones come, until Ctrl-C.")] = False,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Show the user's own signals, oldest first."""
    console = Console()
    with client(url, token, user) as hub:
        while True:
            page = hub.call("GET", "/api/v1/signals", query={"since_seq": since, "limit": 100})
            for signal in page["signals"]:
                console.print(_line(signal), highlight=False)
            since = page["next_since_seq"]
            if not page["signals"] and not follow:
                return
            if not page["signals"]:
                time.sleep(_POLL_S)


def _line(signal: dict[str, Any]) -> str:
    target = signal["target_fraction"]
    action = f"target {target:+.3f}" if target is not None else signal["kind"]
    age_ms = (time.time_ns() - signal["generated_ns"]) / 1e6
    return (
        f"#{signal['sequence']} {signal['strategy']} {signal['symbol']} {action}: {signal['reason']} "
        f"({age_ms:,.0f} ms old, delivery {signal['delivery_id']})"
    )
