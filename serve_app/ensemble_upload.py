"""An ensemble as `POST /api/v1/models` takes it: recipe and card, drawn up from the catalogue's answer."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from models.card import MOST_MEMBERS, NAMED_MODEL, Ensemble, ModelCard, ModelStatus
from models.ensembles import is_named, market_of, members_of, recipe_of
from models.errors import CardRejected
from models.evidence import LiveEvidence
from routing.ensembles import described
from routing.evidence.weights import weights_of

_MEMBERS: Final = "ensemble.members"
_NAMES: Final = (
    "a model is named as ridge or, in one version, as ridge@1; a name is lower-case letters, digits and "
    "dashes, begins with a letter and has at most 63 characters"
)


@dataclass(frozen=True, slots=True)
class Draft:
    """An ensemble before it is registered, its members, and the weight that each would have now."""

    card: ModelCard
    members: list[ModelCard]
    weights: Mapping[str, float]

    def upload(self) -> dict[str, Any]:
        """The body of the request."""
        recipe = recipe_of(self.card.ensemble) if self.card.ensemble else b""
        return {"card": self.card.model_dump(mode="json"), "artefact": base64.b64encode(recipe).decode()}


def drafted(found: Mapping[str, Any], *, name: str, version: str, of: Sequence[str]) -> Draft:
    """An ensemble of the models named, or with none named of all that are live; `found` is the answer of
    `GET /api/v1/models`. CardRejected names what is wrong; what the hub has to say of it comes later.
    """
    cards = [ModelCard.model_validate(card, extra="ignore") for card in found["models"]]
    ensemble = _ensemble(of)
    card = _card(_like(cards, ensemble), ensemble, name=name, version=version)
    members = members_of(card, cards)
    return Draft(described(card, members), members, weights_of(members, _seen(found)))


def said_of(card: Mapping[str, Any]) -> str | None:
    """What a card of the catalogue's answer is an ensemble of, in words; None if it is none."""
    if not card.get("ensemble"):
        return None
    members = card["ensemble"]["members"]
    return "every live model of its market" if isinstance(members, str) else ", ".join(members)


def _ensemble(of: Sequence[str]) -> Ensemble:
    if len(of) == 1:
        raise CardRejected(f"an ensemble has at least two members; {of[0]} is one", field=_MEMBERS)
    if len(of) > MOST_MEMBERS:
        raise CardRejected(
            f"an ensemble has at most {MOST_MEMBERS} members; these are {len(of)}: name fewer", field=_MEMBERS
        )
    if wrong := [name for name in of if not re.fullmatch(NAMED_MODEL, name)]:
        raise CardRejected(f"members cannot be {' or '.join(map(repr, wrong))}: {_NAMES}", field=_MEMBERS)
    return Ensemble(members=tuple(of) or "live")


def _like(cards: Sequence[ModelCard], ensemble: Ensemble) -> ModelCard:
    """A model of the ensemble's market, of which there must be one."""
    names = ensemble.members
    live = (card for card in cards if card.status is ModelStatus.LIVE and card.ensemble is None)
    meant = list(live) if isinstance(names, str) else [c for c in cards if any(is_named(n, c) for n in names)]
    if not meant:
        raise CardRejected("there is no such model, or none that is live", field=_MEMBERS)
    if len({market_of(card) for card in meant}) > 1:
        markets = ", ".join(f"{card.key} {'/'.join(map(str, market_of(card)))}" for card in meant)
        raise CardRejected(f"members are for several markets; choose with --of: {markets}", field=_MEMBERS)
    return meant[0]


def _card(like: ModelCard, ensemble: Ensemble, *, name: str, version: str) -> ModelCard:
    said = {
        "name": name,
        "version": version,
        "family": "ensemble",
        "description": "Members weighted by the inverse of their interval loss.",
        "status": ModelStatus.CANDIDATE,
        "sha256": hashlib.sha256(recipe_of(ensemble)).hexdigest(),
        "trained": {},
        "ensemble": ensemble.model_dump(),
    }
    try:
        return ModelCard.model_validate(like.model_dump() | said)
    except ValidationError as error:
        raise CardRejected(_first(error), field=str(error.errors()[0]["loc"][0])) from error


def _seen(found: Mapping[str, Any]) -> dict[str, list[LiveEvidence]]:
    return {
        model: [LiveEvidence.model_validate(item, extra="ignore") for item in items]
        for model, items in found.get("observed", {}).items()
    }


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
