"""`hub models`: what was measured of each model; add one while the hub runs, promote it, take it back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from serve_app.commands.model_ensemble import ensemble
from serve_app.commands.model_evidence import evidence
from serve_app.commands.options import NARROW, Token, Url, User, client

if TYPE_CHECKING:
    from serve_app.client import HubClient

app = typer.Typer(
    invoke_without_command=True,
    help="List the models with what was measured of them; add, promote, roll back and retire them.",
)
app.command()(evidence)
app.command()(ensemble)

_LOADED_WITHIN_S: Final = 30.0
_LOOK_S: Final = 0.1

Name = Annotated[str, typer.Argument(help="The model's name.")]
Version = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="One version of a model.")]
Access = tuple[str | None, str | None, str | None]
"""Address, token, user, as the options gave them."""
Why = Annotated[str, typer.Option("--reason", help="Why; it stands in the catalogue.")]


@app.callback()
def models(context: typer.Context, url: Url = None, token: Token = None, user: User = None) -> None:
    """Without a command: `ls`."""
    if context.invoked_subcommand is None:
        ls(url, token, user)


@app.command()
def ls(url: Url = None, token: Token = None, user: User = None) -> None:
    """List all models, each with its pooled evidence, and that from live outcomes where there is some."""
    with client(url, token, user) as hub:
        found = hub.call("GET", "/api/v1/models")
    _print(found, lambda measured: measured[:1])


@app.command()
def show(name: Name, url: Url = None, token: Token = None, user: User = None) -> None:
    """Show every version of one model, with its evidence on each instrument."""
    with client(url, token, user) as hub:
        found = hub.call("GET", f"/api/v1/models/{name}")
    _print(found, lambda measured: measured)


@app.command()
def add(
    source: Annotated[
        Path, typer.Argument(help="A directory with model.onnx and card.yaml, or an ONNX file.")
    ],
    card: Annotated[Path | None, typer.Option(help="The card, if SOURCE is a file.")] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Add a model to the running hub, as a candidate that answers whoever names it.

    The hub looks at the file in a process that can do nothing else, measures, signs and stores it.
    Replicas load it while they go on answering. `hub models promote` lets it answer everybody.
    """
    from serve_app.model_upload import upload_of

    console, sent = Console(), upload_of(source, card)
    columns = BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn()
    with client(url, token, user, admin=True) as hub, Progress(*columns, console=console) as progress:
        step = progress.add_task(f"the hub looks at {len(sent['artefact']) * 3 // 4:,} bytes", total=2)
        added = hub.call("POST", "/api/v1/models", body=sent)
        name = f"{added['name']}@{added['version']}"
        progress.update(step, advance=1, description=f"replicas load {name}")
        choice = _first_route(hub, added)
        progress.update(step, advance=1, description=f"{name} is loaded")
    console.print(
        f"{name} is a {added['status']}: {added['warm'][0]['p50_ms']:.2f} ms a row, "
        f"sha256 {added['sha256'][:12]}; first route to {choice['replica']}\n"
        f"let it answer everybody: hub models promote {name} --reason ...",
        highlight=False,
    )


@app.command()
def promote(version: Version, reason: Why, url: Url = None, token: Token = None, user: User = None) -> None:
    """Let a version answer whoever asks for its task, in place of the one that does."""
    _move((url, token, user), f"{version.replace('@', '/')}/promote", reason)
    typer.echo(f"{version} is live")


@app.command()
def rollback(name: Name, reason: Why, url: Url = None, token: Token = None, user: User = None) -> None:
    """Put the version back that was live before."""
    _move((url, token, user), f"{name}/rollback", reason)
    typer.echo(f"{name} is rolled back; `hub models show {name}` says to which version")


@app.command()
def retire(version: Version, reason: Why, url: Url = None, token: Token = None, user: User = None) -> None:
    """Take a registered version out: it answers nothing any more, what it answered stays explainable."""
    _move((url, token, user), f"{version.replace('@', '/')}/retire", reason)
    typer.echo(f"{version} is retired")


@app.command()
def key(
    secret: Annotated[Path, typer.Argument(help="File with the signing key: 64 hex digits.")],
) -> None:
    """Print the public half of a signing key, for `registration.verify_key` in the settings."""
    from inference.signature import Signer
    from models.secret import SecretRef

    typer.echo(Signer(SecretRef(file=str(secret)).resolve()).verify_key)


def _move(access: Access, path: str, reason: str) -> None:
    with client(*access, admin=True) as hub:
        hub.call("POST", f"/api/v1/models/{path}", body={"reason": reason})


def _first_route(hub: HubClient, card: dict[str, Any]) -> Any:
    """Wait until the router would send a request there, and not to a smaller model that stands in for it."""
    from serve_app.client import Refused

    contract, wanted = card["contract"], (card["name"], card["version"])
    asked = {"model_type": card["task"], "model": f"{card['name']}@{card['version']}"}
    asked |= {"bar_ms": contract["bar_ms"], "horizon_ms": contract["horizon_ms"]}
    give_up = time.monotonic() + _LOADED_WITHIN_S
    while True:
        refused = Refused(f"no replica has loaded {asked['model']} within {_LOADED_WITHIN_S:.0f} s")
        try:
            choice = hub.call("POST", "/api/v1/route", body=asked)
        except Refused as error:
            refused = error
        else:
            if (choice["model"], choice["version"]) == wanted:
                return choice
        if time.monotonic() > give_up:
            raise refused
        time.sleep(_LOOK_S)


def _print(found: dict[str, Any], chosen: Callable[[list[Any]], list[Any]]) -> None:
    from serve_app.ensemble_upload import said_of

    title = f"catalogue version {found['catalogue_version']}"
    table = Table(title=title, title_justify="left", **NARROW)
    for heading in ("model", "status", "measured on"):
        table.add_column(heading, no_wrap=True)
    for heading in ("n", "covers 95 %", "skill", "right", "ms", "cost"):
        table.add_column(heading, justify="right")
    for card in found["models"]:
        head = f"{card['name']}@{card['version']}", card["status"]
        for known in chosen(card["evidence"]) or [None]:
            table.add_row(*head, *_measured(known), f"{card['warm'][0]['p50_ms']:.2f}", f"{card['cost']:.3g}")
        for known in chosen(found.get("observed", {}).get(head[0], [])):
            table.add_row(*head, *_measured(known, ", live"))
    console = Console()
    console.print(table)
    console.print(
        "covers, skill (against naive): lower 95 % bounds; right: share of directions; ms: one row, median; "
        "live: of outcomes, see `hub models evidence NAME`",
        style="dim",
    )
    for card in found["models"]:
        if card.get("ensemble"):
            console.print(
                f"{card['name']}@{card['version']} is an ensemble of {said_of(card)}", highlight=False
            )


def _measured(known: dict[str, Any] | None, source: str = "") -> tuple[str, ...]:
    if known is None:
        return "unmeasured", "0", "-", "-", "-"
    skill, right = known["skill"], known["direction_accuracy"]
    return (
        ("all" if known["instrument"] == "*" else known["instrument"]) + source,
        f"{known['n']:,}",
        f"{known['coverage']['0.95']['lower']:.3f}",
        f"{skill['lower']:+.3f}" if skill else "-",
        f"{right['value']:.3f}" if right else "-",
    )
