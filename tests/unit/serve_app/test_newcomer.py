"""What the demo says of the model that comes while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.demo import newcomer as module
from serve_app.demo.newcomer import NAME, Newcomer, comes, newcomer_lines, without_it
from serve_app.demo.table import View
from serve_app.settings import load_settings

PICKS = {"naive": {"a": 3, "b": 4}, NAME: {"a": 5}}


def test_it_is_missing_at_first(tmp_path: Path) -> None:
    """And nothing else is; no pool asks for it."""
    settings = without_it(tmp_path, load_settings().pools)
    found = {path.name for path in Path(settings["repository"]).iterdir() if path.is_dir()}
    asked = {name for pool in settings["pools"] if pool["models"] != "*" for name in pool["models"]}

    assert {"naive", "mlp"} <= found
    assert asked <= found
    assert "ridge" not in found


def test_what_it_earned_is_told() -> None:
    """Of all picks, and how long it took to come."""
    said = " ".join(newcomer_lines(Newcomer(1.84), PICKS))

    assert "1.8 s" in said
    assert "of 12 in the whole run: 5" in said


@pytest.mark.parametrize(
    ("newcomer", "word"), [(None, "playback ended before"), (Newcomer(1.0, "no owner"), "no owner")]
)
def test_if_it_never_came_that_is_told_too(newcomer: Newcomer | None, word: str) -> None:
    """With the hub's own words."""
    assert word in newcomer_lines(newcomer, {})[0]


async def test_a_refusal_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub is known here, so it cannot be added; the demo goes on, and its table says so."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    view = View(0, 1, 1)

    came = await comes(view, seconds=0.0)

    assert "no running hub" in came.trouble
    assert "could not be added" in view.newcomer
    assert module.MODEL in view.newcomer
