"""`hub subscribe`, `hub signals` and `hub stream`: make, show and follow one user's signals."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from random import SystemRandom
from typing import Annotated, Any

import typer
from rich.console import Console

from serve_app.commands.options import Token, Url, User, access, client

_POLL_S = 0.5


def subscribe(
    strategy: Annotated[str, typer.Argument(help="Strategy as name@version.")],
    symbol: Annotated[str, typer.Argument(help="Canonical symbol, for example EURUSD.")],
    account: Annotated[str, typer.Option(help="Trading account of the user.")] = "default",
    scale: Annotated[float, typer.Option(help="Targets are multiplied by this.")] = 1.0,
    max_fraction: Annotated[float, typer.Option(help="Targets are clipped to this.")] = 1.0,
    max_exposure: Annotated[
        float | None, typer.Option(help="The account's targets over all symbols stay below this.")
    ] = None,
    per_minute: Annotated[
        int | None, typer.Option(help="So many signals in any 60 s ask for something.")
    ] = None,
    quiet: Annotated[
        list[str] | None,
        typer.Option(help="Nothing is asked in these hours, UTC: 22:00-06:00; repeatable."),
    ] = None,
    *,
    end: Annotated[bool, typer.Option("--end", help="End the subscription instead.")] = False,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Subscribe the user to a strategy on a symbol, change its risk settings, or end it."""
    path = f"/api/v1/subscriptions/{strategy}/{symbol}"
    risk = {
        "risk": {
            "scale": scale,
            "max_fraction": max_fraction,
            "max_exposure": max_exposure,
            "max_signals_per_minute": per_minute,
            "quiet_hours": [_hours(text) for text in quiet or ()],
        }
    }
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
    console, cursor = Console(), None
    with client(url, token, user) as hub:
        while True:
            query = {"since_seq": since, "limit": 100, **({"cursor": cursor} if cursor else {})}
            page = hub.call("GET", "/api/v1/signals", query=query)
            for signal in page["signals"]:
                console.print(_line(signal), highlight=False)
            since, cursor = page["next_since_seq"], page["next_cursor"]
            if not page["signals"] and not cursor:
                if not follow:
                    return
                time.sleep(_POLL_S)


def stream(
    since: Annotated[
        int | None, typer.Option(help="Go on after this sequence number; default: what comes from now on.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Signals of this account only.")] = None,
    *,
    beats: Annotated[bool, typer.Option("--beats", help="Show heartbeats too.")] = False,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Follow the user's own signals as they come, through every reconnection, until Ctrl-C."""
    from serve_app.stream_client import SignalStream

    console = Console()
    address, bearer = access(url, token, user)

    async def follow() -> None:
        signals = SignalStream(address, bearer, since=since, account=account, rng=SystemRandom())
        async for frame in signals.frames():
            if "type" not in frame:
                console.print(_line(frame), highlight=False)
            elif beats or frame["type"] != "beat":
                console.print(_note(frame), style="dim", highlight=False)

    with suppress(KeyboardInterrupt):
        asyncio.run(follow())


def _note(frame: dict[str, Any]) -> str:
    match frame["type"]:
        case "beat":
            return f"everything up to #{frame['last_sequence']} is here"
        case "skipped":
            return f"#{frame['from']} to #{frame['to']} not sent: {frame['reason']}"
        case _:
            return f"signals between #{frame['after']} and #{frame['before']} are no longer in the log"


def _hours(text: str) -> dict[str, str]:
    start, separator, end = text.partition("-")
    if not separator:
        raise typer.BadParameter(f"{text!r} is no span; write it as 22:00-06:00", param_hint="--quiet")
    return {"start": start.strip(), "end": end.strip()}


def _line(signal: dict[str, Any]) -> str:
    target = signal["target_fraction"]
    action = f"target {target:+.3f}" if target is not None else signal["kind"]
    age_ms = (time.time_ns() - signal["generated_ns"]) / 1e6
    return (
        f"#{signal['sequence']} {signal['strategy']} {signal['symbol']} {action}: {signal['reason']} "
        f"({age_ms:,.0f} ms old, delivery {signal['delivery_id']})"
    )
