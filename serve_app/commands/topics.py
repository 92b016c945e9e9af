"""`hub topics create|check|ls|acls`: prepare one's own brokers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Create, check and list the Kafka topics the hub needs.")

Config = Annotated[
    Path | None, typer.Option(help="Settings file; default config/hub.yaml and HUB_* variables.")
]


@app.command()
def create(config: Config = None) -> None:
    """Create the missing topics and leave the others as they are."""
    _verified(config, create=True)


@app.command()
def check(config: Config = None) -> None:
    """Hold the broker's topics against the contract; exits with an error that names every difference."""
    _verified(config, create=False)


@app.command(name="ls")
def list_topics() -> None:
    """List the topics with partitions, policy and key."""
    from messaging.topics import TOPICS

    table = Table()
    for heading in ("topic", "partitions", "policy", "key"):
        table.add_column(heading)
    for topic in TOPICS:
        policy = ", ".join(f"{name}={value}" for name, value in topic.policy.items())
        table.add_row(topic.name, str(topic.partitions), policy, topic.key)
    Console().print(table)


class AclFormat(StrEnum):
    """What `hub topics acls` prints."""

    KAFKA = "kafka"
    NATS = "nats"
    JSON = "json"


@app.command()
def acls(
    form: Annotated[
        AclFormat, typer.Option("--format", help="Commands for Kafka, accounts for NATS, or both as data.")
    ] = AclFormat.KAFKA,
) -> None:
    """Print what the brokers must let each principal do; passwords stay names of environment variables."""
    from serve_app.permissions import as_data, as_kafka_commands, as_nats_accounts

    printed = {
        AclFormat.KAFKA: as_kafka_commands,
        AclFormat.NATS: as_nats_accounts,
        AclFormat.JSON: as_data,
    }
    typer.echo(printed[form]())


def _verified(config: Path | None, *, create: bool) -> None:
    from serve_app.launch import topics_ready
    from serve_app.settings import load_settings

    settings = load_settings(config)
    for notice in topics_ready(settings, create=create):
        typer.echo(f"notice: {notice}")
    typer.echo(f"the topics on {settings.kafka.bootstrap} fit the hub")
