"""`hub demo`, `hub up` and `hub play`: the commands that start something."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serve_app.commands.options import Speed, Ticks


class BrokerChoice(StrEnum):
    """Which bundled Kafka: Tansu starts in milliseconds; Apache Kafka needs Java 17 and Maven."""

    TANSU = "tansu"
    KAFKA = "kafka"


Broker = Annotated[
    BrokerChoice, typer.Option(help="Bundled broker: tansu, or kafka (Apache Kafka 4.1; Java 17, Maven).")
]
Workers = Annotated[int, typer.Option(help="Fan-out workers that share the users.")]


def demo(
    seconds: Annotated[float, typer.Option(help="Wall seconds of playback.")] = 30.0,
    users: Annotated[int, typer.Option(help="How many users to deliver to.")] = 100,
    ticks: Ticks = None,
    speed: Speed = 60.0,
    fanout_workers: Workers = 1,
    broker: Broker = BrokerChoice.TANSU,
    report: Annotated[Path | None, typer.Option(help="Write ledger and figures to this JSON file.")] = None,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the hub running until Ctrl-C.")] = False,
    antagonist: Annotated[
        bool,
        typer.Option("--antagonist", help="Slow the busiest replica for a while and watch the picks move."),
    ] = False,
) -> None:
    """Play real ticks through a whole hub, watch it live, and let an independent reader settle the ledger.

    Exits with 0 only if every user got every signal owed: none lost, doubled, late, or sent to somebody else.
    """
    from serve_app.demo.run import run_demo
    from serve_app.demo.scene import EXAMPLE_TICKS, DemoOptions

    options = DemoOptions(
        seconds=seconds,
        users=users,
        ticks=tuple(ticks or EXAMPLE_TICKS),
        speed=speed,
        fanout_workers=fanout_workers,
        broker=broker.value,
        report=report,
        keep=keep,
        antagonist=antagonist,
    )
    raise typer.Exit(run_demo(options, Console()))


def up(
    *,
    local: Annotated[
        bool, typer.Option("--local", help="On bundled servers instead of configured ones.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; default config/hub.yaml.")] = None,
    port: Annotated[int, typer.Option(help="HTTP port of the hub.")] = 7000,
    broker: Broker = BrokerChoice.TANSU,
    fanout_workers: Workers = 1,
) -> None:
    """Start a hub and stay. Prints its URLs and a token to try with curl; Ctrl-C ends it."""
    from serve_app.up import run_up

    run_up(
        Console(),
        local=local,
        config=config,
        broker=broker.value,
        overrides={"http": {"port": port}, "fanout_workers": fanout_workers},
    )


def play(
    ticks: Ticks = None,
    speed: Speed = 60.0,
    seconds: Annotated[float, typer.Option(help="Wall seconds of playback.")] = 60.0,
) -> None:
    """Feed recorded ticks to the hub that runs here: history first, then ticks and clock at this speed."""
    from serve_app.demo.scene import EXAMPLE_TICKS
    from serve_app.up import run_play

    run_play(Console(), ticks=tuple(ticks or EXAMPLE_TICKS), speed=speed, seconds=seconds)
