"""`hub models ensemble`: recipe and card that it sends, weights that it shows, and what it refuses."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from deployments.registry.ensembles import composed
from models.card import ModelCard, ModelStatus
from models.errors import CardRejected
from models.lifecycle import NewModel
from serve_app.commands import model_ensemble, models
from serve_app.commands.models import app
from tests.support.cards import a_card, an_ensemble
from tests.support.live_evidence import bounded, seen_on

UNKNOWN = a_card("unknown").model_copy(update={"evidence": ()})
LOAD_ONLY = a_card("big").model_copy(update={"status": ModelStatus.LOAD_ONLY})
CARDS = (a_card("ridge"), a_card("mlp"), UNKNOWN, LOAD_ONLY, an_ensemble("older"))


class Hub:
    """Answers like a hub with these models; keeps what it was asked."""

    def __init__(self, cards: Sequence[ModelCard] = CARDS) -> None:
        self.cards = cards
        self.sent: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def call(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Any:
        """The catalogue, or the ensemble as a candidate."""
        assert path.startswith("/api/v1/models")
        if method == "POST":
            self.sent.append(body)
            return body["card"]
        live = seen_on().model_copy(update={"interval_score": bounded(0.25, 0.2, 0.3)})
        return {
            "catalogue_version": 9,
            "models": [card.model_dump(mode="json") for card in self.cards],
            "observed": {"mlp@1": [live.model_dump(mode="json")]},
        }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that the commands of a test talk to."""
    hub = Hub()
    for module in (model_ensemble, models):
        monkeypatch.setattr(module, "client", lambda *_, **__: hub)
    monkeypatch.setenv("COLUMNS", "80")
    return hub


def rows(output: str) -> dict[str, list[str]]:
    """The lines of a table, by their first word."""
    return {words[0]: words[1:] for line in output.splitlines() if (words := line.split())}


def test_makes_an_ensemble_of_all_that_are_live(hub: Hub) -> None:
    """With the weights that it would have now; whoever was not measured has none."""
    said = CliRunner().invoke(app, ["ensemble", "blend"])

    assert said.exit_code == 0, said.output
    shown = rows(said.output)
    assert shown["mlp@1"] == shown["ridge@1"] == ["live", "0.500"]
    assert shown["unknown@1"] == ["live", "no", "loss", "measured"]
    assert not {"big@1", "older@1"} & shown.keys()
    assert "blend@1 is a candidate" in said.output


@pytest.mark.parametrize(
    ("arguments", "members", "version"),
    [([], "live", "1"), (["--of", "ridge, mlp@1", "--version", "2"], ["mlp@1", "ridge"], "2")],
)
def test_sends_what_the_registry_takes(
    hub: Hub, arguments: list[str], members: list[str] | str, version: str
) -> None:
    """Recipe and card, with the hash of the recipe; nothing is claimed."""
    CliRunner().invoke(app, ["ensemble", "blend", *arguments])
    (body,) = hub.sent
    sent = NewModel.model_validate_json(json.dumps(body))

    assert json.loads(base64.b64decode(body["artefact"])) == {"members": members}
    assert (sent.card.version, sent.card.evidence) == (version, ())
    assert composed(sent.card, CARDS) == sent.card


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["blend", "--of", "ridge"], "ensemble.members"),
        (["blend", "--of", "ridge,Not a name"], "ensemble.members"),
        (["blend", "--of", "nobody,neither"], "ensemble.members"),
        (["Blend"], "name"),
        (["blend", "--version", "x"], "version"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_sent(hub: Hub, arguments: list[str], field: str) -> None:
    """By the field at fault."""
    said = CliRunner().invoke(app, ["ensemble", *arguments])

    assert isinstance(said.exception, CardRejected)
    assert said.exception.field == field
    assert hub.sent == []


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ("ridge,Not a name", "members cannot be 'Not a name': a model is named as ridge or"),
        ("ridge,mlp@x,two words", "members cannot be 'mlp@x' or 'two words': "),
        (",".join(f"m{number}" for number in range(17)), "at most 16 members; these are 17: name fewer"),
    ],
)
def test_members_that_cannot_be_are_refused_in_plain_words(hub: Hub, of: str, words: str) -> None:
    """Which name it was, or how many there were and may be; nothing of how that was found out."""
    error = CliRunner().invoke(app, ["ensemble", "blend", "--of", of]).exception

    assert isinstance(error, CardRejected)
    assert words in error.message
    assert not {"[", "function", "String", "Tuple"} & set(re.findall(r"\[|\w+", error.message))


def test_as_many_members_as_there_may_be_are_taken(hub: Hub) -> None:
    """The bound itself is no fault."""
    hub.cards = tuple(a_card(f"m{number}") for number in range(16))
    names = ",".join(f"m{number}" for number in range(16))

    assert CliRunner().invoke(app, ["ensemble", "blend", "--of", names]).exit_code == 0


def test_models_of_several_markets_have_to_be_chosen_from(hub: Hub) -> None:
    """All that are live would be an ensemble of whichever came first."""
    far = a_card("far")
    far = far.model_copy(update={"contract": far.contract.model_copy(update={"horizon_ms": 30_000})})
    hub.cards = (*CARDS, far)

    said = CliRunner().invoke(app, ["ensemble", "blend"])

    assert isinstance(said.exception, CardRejected)
    assert "--of" in said.exception.message
    assert CliRunner().invoke(app, ["ensemble", "blend", "--of", "ridge,mlp"]).exit_code == 0


@pytest.mark.parametrize("command", [["ls"], ["show", "older"]])
def test_the_list_says_what_an_ensemble_is_of(hub: Hub, command: list[str]) -> None:
    """And nothing of the kind of other models."""
    hub.cards = (a_card("ridge"), an_ensemble("older"), an_ensemble("newer", of=("ridge", "mlp@1")))
    output = CliRunner().invoke(app, command).output

    assert "older@1 is an ensemble of every live model of its market" in output
    assert "newer@1 is an ensemble of mlp@1, ridge" in output
    assert "ridge@1 is an ensemble" not in output
