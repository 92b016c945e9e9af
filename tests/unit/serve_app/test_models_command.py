"""`hub models`: what is sent, what is shown, and what is refused before anything is sent."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from typer.testing import CliRunner

from models.card import ModelStatus
from models.errors import CardRejected
from serve_app.commands import models as command
from serve_app.commands.models import app
from tests.support.cards import a_card
from tests.support.live_evidence import bounded, seen_on

LIVE = (
    seen_on(coverage={"0.95": bounded(0.93, 0.912, 0.948)}, skill=bounded(0.03, 0.011, 0.05)),
    seen_on("EURUSD"),
)


class Hub:
    """Answers like a hub with two models, one of them unmeasured; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def call(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Any:
        """Whatever the path asks for."""
        self.asked.append((method, path, body))
        if path == "/api/v1/route":
            stands_in = len(self.asked) == 2
            return {"model": "naive" if stands_in else "new", "version": "1", "replica": "r7"}
        if method == "POST":
            return a_card("new").model_copy(update={"status": ModelStatus.CANDIDATE}).model_dump(mode="json")
        cards = [a_card("ridge"), a_card("new").model_copy(update={"evidence": ()})]
        live = [item.model_dump(mode="json") for item in LIVE]
        models = [card.model_dump(mode="json") for card in cards]
        return {"catalogue_version": 9, "models": models, "observed": {"ridge@1": live}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that every command of a test talks to."""
    hub = Hub()
    monkeypatch.setattr(command, "client", lambda *_, **__: hub)
    monkeypatch.setenv("COLUMNS", "200")
    return hub


def written(directory: Path, **changes: Any) -> Path:
    """A model's directory."""
    (directory / "model.onnx").write_bytes(b"a model")
    (directory / "card.yaml").write_text(yaml.safe_dump({"name": "new", **changes}))
    return directory


@pytest.mark.parametrize("arguments", [[], ["--token", "t"], ["ls"], ["show", "ridge"]])
def test_lists_what_was_measured_and_what_was_not(hub: Hub, arguments: list[str]) -> None:
    """Without a command it lists."""
    said = CliRunner().invoke(app, arguments)

    assert said.exit_code == 0, said.output
    assert "ridge@1" in said.output
    assert "unmeasured" in said.output


@pytest.mark.parametrize(
    ("arguments", "instruments"),
    [(["ls"], ["all, live"]), (["show", "ridge"], ["all, live", "EURUSD, live"])],
)
def test_what_outcomes_say_stands_below_the_card(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, arguments: list[str], instruments: list[str]
) -> None:
    """n, lower bounds of coverage and skill, where there are some; within 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    output = CliRunner().invoke(app, arguments).output
    rows = [" ".join(line.split()) for line in output.splitlines() if line.startswith("ridge@1")]
    live = [row for row in rows if ", live " in row]

    assert [row.split(" live ", 1)[1].split(" 5,000")[0] for row in live] == instruments
    assert live[0] == "ridge@1 live all, live 5,000 0.912 +0.011 0.510"
    assert [row.split()[6] for row in live[1:]] == ["-"] * (len(instruments) - 1)
    assert rows.index(live[0]) == 1
    assert "…" not in output


def test_adds_a_directory(hub: Hub, tmp_path: Path) -> None:
    """Card and bytes, with the hash that the card lacks; then it waits for the first route to it, and not to
    one that stands in for it.
    """
    said = CliRunner().invoke(app, ["add", str(written(tmp_path))])

    (_, path, body), *routes = hub.asked
    _, routed, asked = routes[-1]
    assert said.exit_code == 0, said.output
    assert len(routes) == 2
    assert (path, routed) == ("/api/v1/models", "/api/v1/route")
    assert base64.b64decode(body["artefact"]) == b"a model"
    assert body["card"] == {"name": "new", "sha256": hashlib.sha256(b"a model").hexdigest()}
    assert asked["model"] == "new@1"
    assert "new@1 is a candidate" in said.output
    assert "r7" in said.output


def test_a_hash_on_the_card_is_sent_as_it_is(hub: Hub, tmp_path: Path) -> None:
    """Whether it is right is for the hub to say."""
    CliRunner().invoke(app, ["add", str(written(tmp_path, sha256="0" * 64))])

    assert hub.asked[0][2]["card"]["sha256"] == "0" * 64


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["promote", "ridge@2"], "/api/v1/models/ridge/2/promote"),
        (["retire", "ridge@2"], "/api/v1/models/ridge/2/retire"),
        (["rollback", "ridge"], "/api/v1/models/ridge/rollback"),
    ],
)
def test_moves(hub: Hub, arguments: list[str], path: str) -> None:
    """With a reason, and not without."""
    without = CliRunner().invoke(app, arguments)
    said = CliRunner().invoke(app, [*arguments, "--reason", "better"])

    assert (without.exit_code, said.exit_code) == (2, 0)
    assert hub.asked == [("POST", path, {"reason": "better"})]


def no_card(directory: Path) -> list[str]:
    """An ONNX file alone."""
    return [str(directory / "model.onnx")]


def no_model(directory: Path) -> list[str]:
    """A directory without its ONNX file."""
    (directory / "model.onnx").unlink()
    return [str(directory)]


def no_yaml(directory: Path) -> list[str]:
    """A card that is none."""
    (directory / "card.yaml").write_text("{")
    return [str(directory)]


@pytest.mark.parametrize(
    ("wrong", "word"), [(no_card, "--card"), (no_model, "model.onnx is missing"), (no_yaml, "is not YAML")]
)
def test_what_is_missing_is_named_before_anything_is_sent(
    hub: Hub, tmp_path: Path, wrong: Callable[[Path], list[str]], word: str
) -> None:
    """By the option or the file."""
    said = CliRunner().invoke(app, ["add", *wrong(written(tmp_path))])

    assert isinstance(said.exception, CardRejected)
    assert word in said.exception.message
    assert hub.asked == []


def test_prints_the_public_half_of_a_key(tmp_path: Path) -> None:
    """64 hex digits, the same each time, and not the key."""
    secret = tmp_path / "key"
    secret.write_text("1f" * 32 + "\n")

    first, second = (CliRunner().invoke(app, ["key", str(secret)]).output.strip() for _ in range(2))

    assert first == second != "1f" * 32
    assert len(bytes.fromhex(first)) == 32
