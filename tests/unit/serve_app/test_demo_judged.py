"""What the demo says at its end of how good its models were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pytest

from models.evidence import ModelEvidence
from models.principal import Principal
from models.promises import evidence_page
from serve_app.demo import judged as module
from serve_app.demo.judged import judged_lines
from tests.support.cards import a_card
from tests.support.live_evidence import bounded, observed, seen_on, stretch

CARDS = {card.name: card for card in (a_card("mlp"), a_card("naive"), a_card("ridge"))}
YOUNG = (
    stretch(0, coverage_90=0.9, coverage_95=0.9889),
    stretch(1, coverage_90=0.8, coverage_95=0.9).model_copy(update={"n": 10}),
)


class Hub:
    """Answers like a hub with these models, of which this was observed."""

    def __init__(self, seen: Mapping[str, ModelEvidence]) -> None:
        self.seen = seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def call(self, _method: str, path: str) -> Any:
        """The catalogue, or the page of one model."""
        if path.endswith("/models"):
            return {"models": [{"name": name} for name in CARDS]}
        card = CARDS[path.split("/")[-2]]
        return evidence_page([card], self.seen, catalogue_version=9).model_dump(mode="json")


def said_of(seen: ModelEvidence, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the demo says when this was observed of one of its models."""
    hub = Hub({seen.model: seen})
    monkeypatch.setattr(module, "recall", Address)
    monkeypatch.setattr(module, "local_token", _token)
    monkeypatch.setattr(module, "HubClient", lambda *_: hub)
    return judged_lines()


class Address:
    """Of a hub that runs."""

    url = "http://hub"


def _token(_address: Address, principal: Principal) -> str:
    return principal.user_id


def test_shares_so_far_are_told_where_there_are_no_bounds_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every outcome counts the same: 89 of 90 and 9 of 10."""
    _, line, _ = said_of(observed(instruments=(), history=YOUNG), monkeypatch)

    assert line == (
        "ridge@1: 5,000 outcomes, 4,000 of them of answers; too few to bound anything; "
        "so far 95 % intervals held 98.0% of the first 100"
    )


def test_before_there_is_a_history_nothing_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcomes are counted all the same."""
    _, line, _ = said_of(observed(instruments=()), monkeypatch)

    assert line.endswith("of answers; too few to bound anything")


def test_what_is_bounded_is_told_with_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The raw share would only say the same less well."""
    live = seen_on(skill=bounded(0.03, 0.01, 0.05))
    _, line, _ = said_of(observed(instruments=(live,), history=YOUNG), monkeypatch)

    assert "95 % intervals held 95.0% (surely 94.8% to 95.2%)" in line
    assert line.endswith("skill +0.030 (surely above +0.010)")
    assert "so far" not in line
