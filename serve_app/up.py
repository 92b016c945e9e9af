"""`hub up` and `hub play`: a hub that stays, and ticks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress as ProgressBar

from messaging.config import NatsConfig
from messaging.connect import open_feed
from models.principal import Tier
from models.strategy import load_strategies
from models.task import WINDOW
from models.tenant import PLATFORM_TENANT
from serve_app.access import local_token, principal_of
from serve_app.launch import Launched, local_settings, running_hub, topics_ready
from serve_app.local_stack import Broker, LocalStack
from serve_app.playback import Plan, Progress, history, play, seed_history
from serve_app.runfile import recall
from serve_app.settings import HubSettings, load_settings, read_text
from serve_app.ticks import TickFile, load_ticks, tick_option


def run_up(
    console: Console, *, local: bool, config: Path | None, broker: Broker, overrides: dict[str, Any]
) -> None:
    """Start, print how to use it, and stay until Ctrl-C."""
    with ExitStack() as stack:
        status = stack.enter_context(console.status("starting"))
        bundled = (
            stack.enter_context(LocalStack(broker=broker, tenants=True, progress=status.update))
            if local
            else None
        )
        settings = _settings(bundled, broker, config, overrides)
        for notice in topics_ready(settings, create=local):
            console.print(f"[yellow]{notice}[/]")
        launched = stack.enter_context(
            running_hub(settings, stack=bundled, dashboard=True, progress=status.update)
        )
        status.stop()
        _print_addresses(console, launched)
        while True:
            time.sleep(1)


def run_play(console: Console, *, ticks: Sequence[str], speed: float, seconds: float) -> None:
    """Feed the hub that runs here, with a progress bar in market time."""
    files = load_ticks(tick_option(text) for text in ticks)
    strategies = load_strategies(read_text(load_settings().strategies))
    sizes = {one.bar_ms for one in strategies if files.keys() & set(one.symbols)}
    plan = Plan.of({s: f.span for s, f in files.items()}, bar_sizes=sizes, seconds=seconds, speed=speed)
    asyncio.run(_play(console, recall().nats, plan, files))


def _settings(
    bundled: LocalStack | None, broker: Broker, config: Path | None, overrides: dict[str, Any]
) -> HubSettings:
    if bundled is None:
        return load_settings(config, **overrides)
    return local_settings(bundled, broker, file=config, **overrides)


async def _play(console: Console, nats: str, plan: Plan, files: dict[str, TickFile]) -> None:
    feed, progress = await open_feed(NatsConfig(servers=(nats,)), name="hub-play"), Progress()
    try:
        await seed_history(feed, history(files, plan), keep=WINDOW + 1)
        with ProgressBar(console=console) as bar:
            task = bar.add_task("playing", total=plan.end_ms - plan.start_ms)
            playing = asyncio.create_task(
                play(
                    feed,
                    files,
                    plan,
                    session=f"play-{time.time_ns():x}",
                    clock=time.time_ns,
                    progress=progress,
                )
            )
            while not playing.done():
                bar.update(
                    task,
                    completed=max(0, progress.now_ms - plan.start_ms),
                    description=f"{progress.ticks} ticks",
                )
                await asyncio.wait({playing}, timeout=0.25)
            await playing
    finally:
        await feed.close()


def _print_addresses(console: Console, launched: Launched) -> None:
    url = launched.hub.url
    console.print(f"hub       {url}  (API docs: {url}/docs)")
    console.print(f"Ray       {launched.hub.dashboard_url}")
    console.print(f"Kafka     {launched.settings.kafka.bootstrap}")
    console.print(f"NATS      {launched.settings.nats.servers[0]}")
    console.print(f"Redis     {launched.settings.redis.url}")
    if launched.settings.tokens.kind == "hs256":
        principal = principal_of("operator", tenant="local", tier=Tier.PRO, admin=True)
        console.print("\nA token for the next day, and a first request:", highlight=False)
        console.print(f"export HUB_TOKEN={local_token(recall(), principal)}", soft_wrap=True, highlight=False)
        console.print(_curl(url), soft_wrap=True, highlight=False)
    first = launched.settings.control.first_admin if launched.settings.control else None
    if first:
        login = f"hub login --tenant {PLATFORM_TENANT} {first.login} --password-file {first.password.file}"
        console.print(
            f"\nTenants: log in as the admin of this run with\n{login}", soft_wrap=True, highlight=False
        )
    console.print("\nFeed it with `hub play`; Ctrl-C ends it.")


def _curl(url: str) -> str:
    body = (
        '{"model_type": "time_series_forecast", "data_size": "large", '
        '"latency_requirement": "< 100ms", "accuracy_requirement": "> 95%"}'
    )
    return (
        f"curl -s {url}/api/v1/route?routing_strategy=performance_optimized "
        f"-H \"Authorization: Bearer $HUB_TOKEN\" -H 'Content-Type: application/json' -d '{body}'"
    )
