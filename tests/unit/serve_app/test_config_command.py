"""`hub config`: what is sent, what is shown in 80 columns, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from deployments.control.routes.platform_config import SettingPage
from deployments.front.tenant_config.schema import SCHEMA
from deployments.front.tenant_config.templates import load_templates
from deployments.front.tenant_config.view import EffectiveConfig
from serve_app.cli import app
from serve_app.commands import config as command
from tests.unit.gateway.doubles import known_tenants

ROOT = Path(__file__).parents[3]


class Hub:
    """Answers like a control plane with one tenant; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def call(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Any:
        """Whatever the path asks for."""
        self.asked.append((method, path, query, body))
        if method != "GET":
            return {"tenant_id": "acme", "layer": "tenant", "version": 4}
        return _pages()[path.rpartition("/")[2]]


def _pages() -> dict[str, Any]:
    effective = known_tenants().view.of("acme", "alice")
    assert isinstance(effective, EffectiveConfig)
    mark = {"secret": True, "set": True}
    differences = [
        {"name": "mt5.password", "before": mark, "after": mark},
        {"name": "risk.scale", "before": None, "after": 0.5},
    ]
    templates = load_templates((ROOT / "config" / "tenant_templates.yaml").read_text())
    return {
        "config": effective.told() | {"layer": "tenant"},
        "2": {"differences": differences},
        "3": {"differences": []},
        "versions": {"versions": [{"version": 3, "at_ns": 10**18, "author": "u-1", "comment": "why not"}]},
        "config-templates": templates.model_dump(),
        "config-schema": {"settings": [SettingPage.of(one).model_dump() for one in SCHEMA.values()]},
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that every command of a test talks to."""
    hub = Hub()
    monkeypatch.setattr(command, "client", lambda *_, **__: hub)
    monkeypatch.setenv("COLUMNS", "80")
    return hub


def _run(*arguments: str, stdin: str = "") -> Any:
    return CliRunner().invoke(app, ["config", *arguments], input=stdin)


def test_get_shows_values_and_where_they_are_from(hub: Hub) -> None:
    """By name or section; a secret says whether it is set; nothing is wider than the terminal."""
    whole, risk = _run("get", "--tenant", "acme"), _run("get", "risk", "--tenant", "acme")

    assert whole.exit_code == 0
    assert max(map(len, whole.output.splitlines())) <= 80
    assert "(secret, set)" in whole.output
    assert "user 2" in risk.output
    assert "mt5" not in risk.output
    assert hub.asked[0][1] == "/api/v1/control/tenants/acme/config"


def test_set_sends_json_where_it_is_that_and_text_where_it_is_not(hub: Hub) -> None:
    """Numbers, flags, rates, texts that look like numbers, and nothing for `inherit again`."""
    given = ("risk.scale=0.5", "features.stream=false", "limits.user_rate=5/minute", "mt5.login=0042")
    done = _run("set", *given, "risk.max_exposure=", "--tenant", "acme", "--of", "u-1", "--if-version", "3")
    method, path, query, body = hub.asked[0]

    assert done.exit_code == 0, done.output
    assert (method, path, query) == ("PATCH", "/api/v1/control/tenants/acme/users/u-1/config", {"version": 3})
    assert body["config"] == {
        "risk.scale": 0.5,
        "features.stream": False,
        "limits.user_rate": "5/minute",
        "mt5.login": "0042",
        "risk.max_exposure": None,
    }
    assert "version 4" in done.output


def test_secrets_come_from_a_file_or_standard_input(hub: Hub, tmp_path: Path) -> None:
    """And are not shown; on the command line they are refused, unread by any hub."""
    (tmp_path / "secret").write_text("hunter2-hunter2-hunter2\n")
    from_file = _run("set", "--secret", f"mt5.password={tmp_path / 'secret'}")
    from_stdin = _run("set", "--secret", "mt5.password=-", stdin="typed\n")
    refused = _run("set", "mt5.password=hunter2")

    assert (from_file.exit_code, from_stdin.exit_code, refused.exit_code) == (0, 0, 2)
    assert [asked[3]["config"] for asked in hub.asked] == [
        {"mt5.password": "hunter2-hunter2-hunter2"},
        {"mt5.password": "typed"},
    ]
    assert "hunter2" not in from_file.output + refused.output


@pytest.mark.parametrize("arguments", [("set",), ("set", "risk.scale"), ("diff", "1"), ("rollback", "-1")])
def test_what_says_nothing_is_refused(hub: Hub, arguments: tuple[str, ...]) -> None:
    """Before a hub is asked."""
    assert _run(*arguments).exit_code == 2
    assert hub.asked == []


def test_history_diff_and_rollback(hub: Hub) -> None:
    """Who, when and why; what differs, of a secret only that; and the way back."""
    history, diff, same = _run("history"), _run("diff", "1", "2"), _run("diff", "3", "3")
    back = _run("rollback", "2", "--comment", "too small")

    assert "2001-09-09 01:46:40" in history.output
    assert "why not" in history.output
    assert diff.output.count("(secret, set)") == 2
    assert "risk.scale" in diff.output
    assert "no difference" in same.output
    assert hub.asked[-1][3] == {"to": 2, "comment": "too small"}
    assert back.exit_code == 0


def test_templates_and_the_schema_are_listed(hub: Hub) -> None:
    """Every template with what it sets, every setting with what it takes, in 80 columns."""
    templates, schema, risk = _run("template"), _run("schema"), _run("schema", "risk")

    assert max(map(len, (templates.output + schema.output).splitlines())) <= 80
    assert all(name in schema.output for name in SCHEMA)
    assert "risk.max_fraction = 0.1" in templates.output
    assert "features" not in risk.output
    assert _run("template", "standard").exit_code == 0
    assert hub.asked[-1][3] == {"template": "standard", "comment": ""}
