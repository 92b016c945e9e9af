"""`hub record` and `hub replay`: write down what a gateway decides, and decide it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from serve_app.commands.options import Token, Url, User, client

if TYPE_CHECKING:
    from routing.recordings.replay import Replay
    from routing.trials.comparison import Comparison


def record(
    file: Annotated[Path, typer.Argument(help="New file, .jsonl or .jsonl.gz.")],
    seconds: Annotated[float, typer.Option(help="How long; Ctrl-C stops early.")] = 30.0,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Record requests, catalogue, load and decisions of the gateway that answers. For operators.

    The file is valid at any moment up to its last whole line, whatever ends the recording.
    """
    from serve_app.recording_file import new_file

    console, lines = Console(), 0
    with client(url, token, user, admin=True) as hub:
        asked = hub.stream("POST", "/api/v1/routing/recording", body={"seconds": seconds})
        try:
            with asked as chunks, new_file(file) as out, _bar(console, "recording", seconds) as advance:
                for chunk in chunks:
                    out.write(chunk)
                    out.flush()
                    lines += chunk.count(b"\n")
                    advance(None, f"{lines:,} lines")
        except KeyboardInterrupt:
            console.print("stopped")
    if not lines:
        return
    console.print(f"{lines:,} lines in {file} ({file.stat().st_size:,} bytes); now: hub replay {file}")


def replay(
    file: Annotated[Path, typer.Argument(help="What `hub record` wrote.")],
    profile: Annotated[str | None, typer.Option(help="Decide every request by this profile.")] = None,
    profiles: Annotated[Path | None, typer.Option(help="Profiles of this file, not the recorded.")] = None,
) -> None:
    """Decide recorded requests again.

    Without options the decisions must come out as recorded, bit for bit; exit code 1 shows the first that
    does not. With another profile, show what it would have chosen instead.
    """
    from routing.recordings.replay import Replay
    from serve_app.recording_file import read_lines

    console = Console()
    with _bar(console, "replaying", _size_of(file)) as advance:
        lines = read_lines(file, lambda taken: advance(taken, ""))
        again = Replay(lines, profile=profile, profiles=_text_of(profiles))
        console.print(f"gateway {again.header.gateway}")
        if profile is None and profiles is None:
            _verify(console, again)
        else:
            _compare(console, again)


def _verify(console: Console, replay: Replay) -> None:
    from routing.recordings.replay import difference

    count = 0
    for count, again in enumerate(replay.decisions(), start=1):
        if found := difference(again):
            name = again.recorded.asked.decision_id or "a refused request"
            console.print(f"[bold red]differs[/]: decision {count:,} ({name}): {found}", highlight=False)
            raise typer.Exit(1)
    _not_empty(count)
    console.print(f"{count:,} decisions reproduced, bit for bit")


def _compare(console: Console, replay: Replay) -> None:
    from routing.trials.comparison import Comparison

    total = Comparison()
    for again in replay.decisions():
        total.add(again)
    _not_empty(total.requests)
    changed, moved = total.changed / total.requests, total.other_model / total.requests
    console.print(
        f"{total.requests:,} requests: {changed:.1%} would have gone elsewhere, {moved:.1%} to another model"
    )
    console.print(_picks(total))
    console.print(_effects(total))
    console.print(
        "The load is as it was recorded: this is the first-order effect, of predictions and not of answers.",
        style="dim",
    )


def _picks(total: Comparison) -> Table:
    table = _table("picks", "model", "recorded", "now")
    for model in sorted({*total.picks_before, *total.picks_after}):
        shares = (picks[model] / total.requests for picks in (total.picks_before, total.picks_after))
        table.add_row(model, *(f"{share:.1%}" for share in shares))
    return table


def _effects(total: Comparison) -> Table:
    table = _table("promises", "mean", "recorded", "now", "difference", "standard error")
    for name, effect in total.effects().items():
        numbers = (effect.before, effect.after)
        table.add_row(
            name,
            *(f"{number:.4f}" for number in numbers),
            f"{effect.difference:+.4f}",
            f"{effect.standard_error:.4f}",
        )
    return table


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


@contextmanager
def _bar(console: Console, what: str, total: float) -> Iterator[Any]:
    """A progress bar; what it yields takes how far we are (None: by the clock) and a note."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total, note="")

        def advance(done: float | None, note: str) -> None:
            by_clock = progress.tasks[0].elapsed or 0.0
            progress.update(task, completed=by_clock if done is None else done, note=note)

        yield advance


def _size_of(file: Path) -> int:
    from models.errors import ConfigError

    if not file.is_file():
        raise ConfigError(f"recording {file} does not exist", field="FILE")
    return file.stat().st_size


def _text_of(profiles: Path | None) -> str | None:
    from models.errors import ConfigError

    if profiles is None:
        return None
    if not profiles.is_file():
        raise ConfigError(f"profiles file {profiles} does not exist", field="--profiles")
    return profiles.read_text()


def _not_empty(decisions: int) -> None:
    from models.errors import Malformed

    if not decisions:
        raise Malformed("the recording holds no decision: was there any traffic?", field="FILE")
