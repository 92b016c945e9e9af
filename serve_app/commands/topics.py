"""`hub topics create|check|ls|acls|retention`: prepare one's own brokers, and say how long what is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from models.retention import RetentionRule

app = typer.Typer(no_args_is_help=True, help="Create, check and list the Kafka topics the hub needs.")

Config = Annotated[
    Path | None, typer.Option(help="Settings file; default config/hub.yaml and HUB_* variables.")
]

NO_RULE: Final = ("none", "the hot copy alone", "", "")
NOT_ADVICE: Final = (
    "An engineer's reading of the sources, not legal advice. Kafka holds the hot copy; the record is an"
    " archive that cannot be altered (docs/decisions/0015)."
)


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


@app.command()
def retention(
    file: Annotated[Path | None, typer.Option(help="Policy file; default config/retention.yaml.")] = None,
    event: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the event; default today.")
    ] = None,
) -> None:
    """Print how long each topic of users is hot, and which rule decides when its record may be deleted."""
    from messaging.topics import TOPICS
    from models.retention import load_retention
    from serve_app.settings import read_text

    policy = load_retention(file.read_text() if file else read_text("config/retention.yaml"))
    day = (event or datetime.now(UTC)).date()
    table = Table()
    for heading in ("topic", "hot in Kafka", "rule", "kept for", f"of {day} deletable from", "source"):
        table.add_column(heading)
    for topic in TOPICS:
        if topic.domain == "user":
            rule = policy.rule_for(topic.name)
            table.add_row(topic.name, topic.kept, *(described(rule, day) if rule else NO_RULE))
    Console().print(table)
    typer.echo(NOT_ADVICE)


def described(rule: RetentionRule, day: date) -> tuple[str, str, str, str]:
    """A rule's columns: its name, its period, the first day without it, and where it is written."""
    period = f"{rule.years} calendar years from {rule.starts.value.replace('_', ' ')}"
    if rule.extensions:
        period += ", longer on " + " or ".join(item.value.replace("_", " ") for item in rule.extensions)
    return rule.rule, period, str(rule.delete_from(day)), rule.source or "the tenant's own policy"


def _verified(config: Path | None, *, create: bool) -> None:
    from serve_app.launch import topics_ready
    from serve_app.settings import load_settings

    settings = load_settings(config)
    for notice in topics_ready(settings, create=create):
        typer.echo(f"notice: {notice}")
    typer.echo(f"the topics on {settings.kafka.bootstrap} fit the hub")
