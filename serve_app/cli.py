"""The command `hub`. Errors that are the hub's own are printed in one line; everything else is a defect."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.text import Text

from models.errors import HubError
from serve_app.commands import (
    ask,
    audit,
    config,
    database,
    experiment,
    halts,
    keys,
    ledger,
    login,
    models,
    recordings,
    run,
    streams,
    tenants,
    topics,
    usage,
    user_data,
    users,
)
from serve_app.interrupts import obey_sigterm

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Central Hub: routed inference, and each user's signals in Kafka. Begin with `hub demo`.",
)
app.command()(run.demo)
app.command()(run.up)
app.command()(run.play)
app.command()(streams.subscribe)
app.command()(streams.signals)
app.command()(streams.stream)
app.command()(ask.route)
app.command()(ask.explain)
app.command()(recordings.record)
app.command()(recordings.replay)
app.command()(ledger.ledger)
app.command()(halts.halt)
app.command()(halts.resume)
app.command()(halts.halts)
app.command()(ask.token)
app.command()(user_data.data)
app.add_typer(models.app, name="models")
app.add_typer(experiment.app, name="experiment")
app.add_typer(topics.app, name="topics")
app.command()(login.login)
app.command()(login.logout)
app.add_typer(keys.app, name="keys")
app.add_typer(tenants.app, name="tenants")
app.add_typer(users.app, name="users")
app.add_typer(database.app, name="database")
app.add_typer(audit.app, name="audit")
app.add_typer(usage.app, name="usage")
app.add_typer(config.app, name="config")


def main() -> None:
    """Run a command: exit code 2 for a clear refusal, 130 for Ctrl-C, 143 for SIGTERM."""
    obey_sigterm()
    try:
        app()
    except HubError as error:
        told = Text.assemble((error.code, "bold red"), f": {error.message}")  # no markup: a message is text
        Console(stderr=True).print(told, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
