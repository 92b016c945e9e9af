"""`hub halt` by hand: what it refuses before it asks anybody."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from serve_app.cli import app


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
