"""The live table of `hub demo`: what came in, what was owed, who answered and why, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_STAGE_WORDS: Final = {
    "window": "window built",
    "decided": "model and replica picked",
    "sent": "call sent",
    "inferred": "inference back",
    "predicted": "prediction in Kafka",
    "projected": "projected for the user",
    "read": "read by the user's side",
    "acknowledged": "signal acknowledged",
}


@dataclass(slots=True)
class View:
    """What is shown; `live` is the last summary of the independent reader."""

    start_ms: int
    end_ms: int
    slots_due: int
    ticks: int = 0
    now_ms: int = 0
    live: dict[str, Any] = field(default_factory=dict)
    acknowledged_ms: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def render(view: View) -> RenderableType:
    """The whole screen; every number is from the running system."""
    parts = [_headline(view), _picks(view.live), _stages(view)]
    if view.errors:
        parts.append(Text("\n".join(f"! {error}" for error in view.errors[-5:]), style="red"))
    return Group(*parts)


def _headline(view: View) -> RenderableType:
    live = view.live
    moment = datetime.fromtimestamp(max(view.now_ms, view.start_ms) / 1000, UTC)
    facts = Text.from_markup(
        f"market time [bold]{moment:%Y-%m-%d %H:%M:%S}[/]   ticks in [bold]{view.ticks:,}[/]   "
        f"slots due [bold]{view.slots_due:,}[/]   predicted [bold]{live.get('predictions', 0):,}[/]   "
        f"signals [bold]{live.get('signals', 0):,}[/] for [bold]{live.get('users', 0):,}[/] users"
    )
    done = max(0, view.now_ms - view.start_ms)
    return Group(ProgressBar(total=view.end_ms - view.start_ms, completed=done), facts, _per_user(live))


def _per_user(live: dict[str, Any]) -> Text:
    top = ", ".join(f"{user} {count}" for user, count in live.get("top_users", ()))
    skipped = ", ".join(f"{count} {reason}" for reason, count in live.get("skipped", {}).items())
    return Text(f"most signals: {top or 'none yet'}   no forecast: {skipped or 'none'}", style="dim")


def _picks(live: dict[str, Any]) -> Table:
    table = Table(title="picked", title_justify="left", expand=False)
    for heading in ("model", "replica", "picks", "why (last)"):
        table.add_column(heading, justify="right" if heading == "picks" else "left", overflow="fold")
    for model, replicas in sorted(live.get("picks", {}).items()):
        why = live.get("reasons", {}).get(model, "")
        for replica, count in sorted(replicas.items()):
            table.add_row(model, replica, f"{count:,}", why)
            why = ""
    return table


def _stages(view: View) -> Table:
    table = Table(title="milliseconds since the tick", title_justify="left", expand=False)
    table.add_column("stage")
    table.add_column("p50", justify="right")
    table.add_column("p99", justify="right")
    stages = dict(view.live.get("stages_ms", {}))
    if view.acknowledged_ms:
        stages["acknowledged"] = view.acknowledged_ms
    for stage, words in _STAGE_WORDS.items():
        if stage in stages:
            table.add_row(words, f"{stages[stage]['p50']:.1f}", f"{stages[stage]['p99']:.1f}")
    return table
