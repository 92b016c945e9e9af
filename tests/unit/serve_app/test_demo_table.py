"""The live table marks the replica that is being slowed, and shows where the last picks went."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from serve_app.demo.antagonist import busiest
from serve_app.demo.table import View, render

START_S = 100.0


def _live(**picks: int) -> dict[str, Any]:
    return {"picks": {"ridge": picks}}


def _view(*summaries: dict[str, Any], every_s: float = 1.0) -> View:
    view = View(0, 60_000, 36)
    for number, live in enumerate(summaries):
        view.take(live, START_S + number * every_s)
    return view


def _screen(view: View) -> str:
    console = Console(width=200, file=StringIO())
    with console.capture() as screen:
        console.print(render(view))
    return screen.get()


def _row(view: View, replica: str) -> str:
    return next(line for line in _screen(view).splitlines() if line.startswith("│ ridge") and replica in line)


def test_last_picks_are_those_of_three_seconds() -> None:
    """What was picked before is in the total only."""
    view = _view(*(_live(r1=10 * n, r2=n) for n in range(8)))

    assert (view.recent("ridge", "r1"), view.recent("ridge", "r2")) == (30, 3)


def test_replica_that_appears_later_has_all_its_picks_as_last_ones() -> None:
    """It was not in the older summaries."""
    view = _view(_live(r1=5), _live(r1=5, r2=4))

    assert view.recent("ridge", "r2") == 4


def test_nothing_is_recent_before_the_first_summary() -> None:
    """The table is on the screen before the reader has said anything."""
    assert View(0, 1, 0).recent("ridge", "r1") == 0
    assert "picked" in _screen(View(0, 1, 0))


def test_headline_stands_below_the_progress_bar() -> None:
    """A bar that does not end its line would push the figures out of the screen."""
    view = _view(_live(r1=5))
    view.ticks, view.now_ms = 8204, 30_000

    bar, facts, *_ = _screen(view).splitlines()

    assert set(bar.strip()) <= {"━", "╸"}
    assert facts.startswith("market time")
    assert "ticks in 8,204" in facts


def test_only_the_slowed_replica_is_marked_and_only_while_it_is() -> None:
    """A newcomer sees which row to watch."""
    view = _view(_live(r1=5, r2=7))
    assert "antagonist" not in _screen(view)

    view.victim, view.slowed = "r2", True
    assert "antagonist slows replica r2" in _screen(view)
    assert ("slowed" in _row(view, "r2"), "slowed" in _row(view, "r1")) == (True, False)

    view.slowed = False
    assert "has let replica r2 go" in _screen(view)
    assert "slowed" not in _row(view, "r2")


def test_busiest_replica_has_most_picks_over_all_models() -> None:
    """Not the one that leads in a single model."""
    picks = {"ridge": {"r1": 6, "r2": 5}, "naive": {"r2": 4, "r3": 8}}

    assert busiest(picks) == [("r2", 9), ("r3", 8), ("r1", 6)]
    assert busiest({}) == []
