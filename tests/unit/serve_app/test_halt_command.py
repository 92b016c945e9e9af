"""`hub halt` by hand: what it refuses before it asks anybody, and which Kafka it writes to directly."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve_app import direct_halts
from serve_app.cli import app
from serve_app.runfile import RunningHub, remember


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["halt", "user", "--reason", "x"], "say which user"),
        (["halt", "user", "--reason", "x", "--direct"], "say which user"),
        (["halt", "all", "anna", "--reason", "x"], "takes no id"),
        (["resume", "model"], "say which model"),
    ],
)
def test_a_halt_that_names_nobody_is_refused_in_words(arguments: list[str], says: str) -> None:
    """Before a hub or a broker is asked: none runs here."""
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("bundled", [True, False])
def test_a_direct_halt_goes_to_the_bundled_hub_that_runs_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, bundled: bool
) -> None:
    """And where there is none, to the Kafka of the settings."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HUB_KAFKA__BOOTSTRAP", "kafka-1:9092")
    remember(RunningHub(url="http://x", kafka="127.0.0.1:1234", nats="n", redis="r", bundled=bundled))

    assert direct_halts._kafka().bootstrap == ("127.0.0.1:1234" if bundled else "kafka-1:9092")
