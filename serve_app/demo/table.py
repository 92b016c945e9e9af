"""The live table of `hub demo`: what came in, what was owed, who answered and why, and how long it took."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
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
_RECENT_S: Final = 3.0
Picked = dict[str, dict[str, int]]
"""By model and replica."""


@dataclass(slots=True)
class View:
    """What is shown; `live` is the last summary of the independent reader. `victim` is the replica that the
    antagonist has chosen, `slowed` whether it is at it; `newcomer` is told of the model that comes.
    """

    start_ms: int
    end_ms: int
    slots_due: int
    ticks: int = 0
    now_ms: int = 0
    live: dict[str, Any] = field(default_factory=dict)
    acknowledged_ms: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    newcomer: str = ""
    victim: str | None = None
    slowed: bool = False
    _picked: deque[tuple[float, Picked]] = field(default_factory=deque)

    def take(self, live: dict[str, Any], now_s: float) -> None:
        """Show this summary; `now_s` is of any clock that only goes forward."""
        self.live = live
        self._picked.append((now_s, live.get("picks", {})))
        while len(self._picked) > 1 and self._picked[1][0] <= now_s - _RECENT_S:
            self._picked.popleft()

    def recent(self, model: str, replica: str) -> int:
        """Picks of the last three seconds."""
        if not self._picked:
            return 0
        first, last = (
            picks.get(model, {}).get(replica, 0) for _, picks in (self._picked[0], self._picked[-1])
        )
        return last - first


def render(view: View) -> RenderableType:
    """The whole screen; every number is from the running system."""
    parts = [_headline(view), _picks(view), _stages(view)]
    if view.newcomer:
        parts.insert(1, Text(view.newcomer, style="bold green"))
    if view.victim:
        parts.insert(1, _antagonist(view.victim, slowed=view.slowed))
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
    bar = Padding(ProgressBar(total=view.end_ms - view.start_ms, completed=done), 0)  # ends its line
    return Group(bar, facts, _per_user(live))


def _per_user(live: dict[str, Any]) -> Text:
    top = ", ".join(f"{user} {count}" for user, count in live.get("top_users", ()))
    skipped = ", ".join(f"{count} {reason}" for reason, count in live.get("skipped", {}).items())
    return Text(f"most signals: {top or 'none yet'}   no forecast: {skipped or 'none'}", style="dim")


def _antagonist(victim: str, *, slowed: bool) -> Text:
    if slowed:
        return Text(
            f"an antagonist slows replica {victim}: watch its picks of the last 3 s", style="bold red"
        )
    return Text(f"the antagonist has let replica {victim} go", style="bold green")


def _picks(view: View) -> Table:
    table = Table(title="picked", title_justify="left", expand=False)
    for heading in ("model", "replica", "picks", "last 3 s", "why (last)"):
        justify: JustifyMethod = "right" if heading in {"picks", "last 3 s"} else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    for model, replicas in sorted(view.live.get("picks", {}).items()):
        why = view.live.get("reasons", {}).get(model, "")
        for replica, count in sorted(replicas.items()):
            slowed = view.slowed and replica == view.victim
            name = f"{replica} < slowed" if slowed else replica
            recent = f"{view.recent(model, replica):,}"
            table.add_row(model, name, f"{count:,}", recent, why, style="red" if slowed else None)
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
