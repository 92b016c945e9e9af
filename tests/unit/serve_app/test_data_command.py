"""`hub data`: follows pages as far as it was asked to, and asks for a type of the list alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from serve_app.cli import app
from serve_app.commands import user_data


class Hub:
    """A user with 500 events."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, path: str, *, query: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, query))
        start = int(query.get("cursor", 0))
        stop = min(start + query["limit"], 500)
        return {
            "events": [{"n": n} for n in range(start, stop)],
            "next_cursor": str(stop) if stop < 500 else None,
        }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that the command reaches."""
    made = Hub()

    @contextmanager
    def client(*_: Any, **__: Any) -> Iterator[Hub]:
        yield made

    monkeypatch.setattr(user_data, "client", client)
    return made


@pytest.mark.parametrize(("limit", "lines"), [(1, 1), (200, 200), (201, 201), (450, 450), (9_000, 500)])
def test_as_many_events_as_were_asked_for(hub: Hub, limit: int, lines: int) -> None:
    """Over as many pages as that takes, each event once."""
    asked = ["data", "u1", "trades", "--tenant", "acme", "--limit", str(limit), "--since", "2026-11-01"]
    result = CliRunner().invoke(app, asked)

    assert result.exit_code == 0, result.output
    assert [orjson.loads(line)["n"] for line in result.output.splitlines()] == list(range(lines))
    assert {path for path, _ in hub.asked} == {"/api/v1/control/tenants/acme/users/u1/data/trades"}
    assert {query["from"] for _, query in hub.asked} == {1_793_491_200 * 10**9}


@pytest.mark.parametrize("data_type", ["trade", "trades; --", "user_trades", ""])
def test_a_type_that_there_is_not_is_refused_before_anybody_is_asked(hub: Hub, data_type: str) -> None:
    """With the list of those that there are."""
    result = CliRunner().invoke(app, ["data", "u1", data_type, "--tenant", "acme"])
    assert result.exit_code == 2
    assert "mt5_status" in result.output
    assert not hub.asked


def test_no_id_reaches_out_of_its_place_in_the_path(hub: Hub) -> None:
    """A separator in one is part of it."""
    CliRunner().invoke(app, ["data", "../../x?", "auth", "--tenant", "a/b"])
    assert hub.asked[0][0] == "/api/v1/control/tenants/a%2Fb/users/..%2F..%2Fx%3F/data/auth"
